// Replays of one publisher, one at a time; and none for a while after one has failed.
//
//   catch up ──► done
//       └─ fails: the account is told that batches are lost; after a cooldown everything is asked for anew

import { catchUp } from "./catch-up.ts";
import type { EndpointCounts } from "./counters.ts";
import type { SubscriberShared } from "./kv-subscriber.ts";
import type { PublisherAccount } from "./publisher-account.ts";

export interface ReplaysOptions {
  /** Null where the publisher offers none. */
  readonly url: string | null;
  readonly account: PublisherAccount;
  readonly counts: EndpointCounts;
  readonly shared: SubscriberShared;
}

export class Replays {
  readonly #options: ReplaysOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;
  #cooldown: NodeJS.Timeout | undefined;

  constructor(options: ReplaysOptions) {
    this.#options = options;
  }

  /** Whether what is missed now can be asked for. */
  get canReplay(): boolean {
    return this.#options.url !== null && this.#cooldown === undefined;
  }

  /** The one under way. It does not reject. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** A second caller waits for the first one's. */
  catchUp(): Promise<void> {
    this.#running ??= this.#catchUpOnce()
      .catch((err: unknown) => {
        this.#options.shared.logger.error({ err }, "kv events cannot be replayed");
        this.#giveUp();
      })
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** What has failed may work now: if there was a failure, everything is asked for anew. */
  again(): void {
    if (this.#cooldown !== undefined) this.#rebuild();
    else if (this.canReplay) void this.catchUp();
  }

  /** The publisher has not sent what it ought to keep: it is not asked again for a while. */
  failed(): void {
    this.#options.account.giveUp("gap");
    this.#coolDown();
  }

  close(): void {
    this.#closing.abort();
    clearTimeout(this.#cooldown);
  }

  async #catchUpOnce(): Promise<void> {
    const { account, counts, shared, url } = this.#options;
    const isDone = await catchUp(account, {
      context: shared.context,
      url: url!,
      limits: shared.catchUpLimits,
      gate: shared.gate,
      signal: this.#closing.signal,
    });
    if (this.isClosed) return;
    if (!isDone) return this.#giveUp();
    this.#failures = 0;
    counts.replays.complete++;
  }

  #giveUp(): void {
    if (this.isClosed) return;
    const { counts, url, shared } = this.#options;
    if (this.#failures === 0) shared.logger.warn({ url }, "kv events are not replayed");
    counts.replays.failed++;
    this.failed();
  }

  /** What was missed may still be kept, and can be had later. */
  #coolDown(): void {
    const { cooldownMs, cooldownMsMax } = this.#options.shared.timing;
    const delayMs = Math.min(cooldownMsMax, cooldownMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    clearTimeout(this.#cooldown);
    this.#cooldown = setTimeout(() => this.#rebuild(), delayMs);
  }

  #rebuild(): void {
    clearTimeout(this.#cooldown);
    this.#cooldown = undefined;
    this.#options.account.rebuild();
    void this.catchUp();
  }
}
