// One of the publishers that dial. The socket is all publishers': it is not left unread while one of them is
// asked for a replay. What that one says meanwhile is dropped but for the last of it, which tells whether the
// replay has brought all.

import { PublisherAccount, type AccountOptions, type PublishedBatch } from "./publisher-account.ts";
import { Replays } from "./replays.ts";
import type { EndpointCounts } from "./counters.ts";
import type { SubscriberShared } from "./kv-subscriber.ts";

/** Replays in a row that each find that more was said meanwhile. */
const ROUNDS_MAX = 5;

export interface DialledPublisherOptions extends AccountOptions {
  readonly counts: EndpointCounts;
  readonly shared: SubscriberShared;
  /** Null where it offers no replay. */
  readonly replayUrl: string | null;
}

export class DialledPublisher {
  readonly account: PublisherAccount;
  readonly replayUrl: string | null;
  readonly #counts: EndpointCounts;
  readonly #replays: Replays;
  /** False from a lost link on, which may have been its own, until it is heard to go on. */
  #isCurrent = true;
  /** The last that was said since something was found missing. */
  #last: PublishedBatch | undefined;
  #isCatchingUp = false;

  constructor(options: DialledPublisherOptions) {
    const { counts, shared, replayUrl: url } = options;
    this.account = new PublisherAccount(options);
    this.replayUrl = url;
    this.#counts = counts;
    this.#replays = new Replays({ url, account: this.account, counts, shared });
  }

  /** Everything that its cache holds was told, and nothing is known to be missing since. */
  get isWhole(): boolean {
    return this.account.isWhole && this.#isCurrent && this.#last === undefined;
  }

  take(batch: PublishedBatch): void {
    const isReplaying = this.#replays.running !== undefined;
    if (!isReplaying && this.#isTaken(batch)) return;
    if (!isReplaying) this.#counts.breaks.gap++;
    this.#last = batch;
    void this.#catchUp();
  }

  /** Some publisher's link was lost; whose, ZeroMQ does not say. */
  linkLost(): void {
    this.#isCurrent = false;
  }

  /** See PublisherAccount. Where there is a replay, that says what the new process has said. */
  engineRestarted(startedAtS: number): void {
    if (this.#replays.canReplay) void this.#catchUp();
    else this.account.engineRestarted(startedAtS);
  }

  /** The account is told that its publisher is gone. */
  close(): void {
    this.#replays.close();
    this.account.gone();
  }

  /** Joins a replay that is under way. */
  async #catchUp(): Promise<void> {
    if (this.#isCatchingUp) return;
    this.#isCatchingUp = true;
    for (let rounds = 0; rounds < ROUNDS_MAX && !this.#replays.isClosed; rounds++) {
      await this.#replays.catchUp();
      const last = this.#last;
      this.#last = undefined;
      if (last === undefined || this.#replays.isClosed || this.#isTaken(last)) break;
      // It has sent what it does not keep.
      if (rounds === ROUNDS_MAX - 1) this.#replays.failed();
      else this.#last = last;
    }
    this.#isCatchingUp = false;
  }

  /** False where batches before it are missing, and can be asked for. */
  #isTaken(batch: PublishedBatch): boolean {
    const before = this.account.appliedCount;
    if (this.account.takeLive(batch, this.#replays.canReplay) === "behind") return false;
    // One that was heard before says nothing of the link it came by.
    if (this.account.appliedCount > before) this.#isCurrent = true;
    return true;
  }
}
