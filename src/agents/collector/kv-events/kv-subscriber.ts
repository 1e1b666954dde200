// Follows one publisher: a SUB socket for what it says, and replays for what was missed.
//
//   connected ──► catch up ──► live ──► gap ──► catch up ──► live
//                    └── fails: uncertain, live from here on, everything anew after a cooldown
//
// Nothing is queued here. While a replay runs, live messages wait in the socket up to a bound, then in
// the publisher's, which drops what is over its own: that is a gap, and found as one. llm-d's router
// drops live events for 30 s after a failed replay; here they are taken, after the account was told that
// what it knew is void.

import { Subscriber, type Context } from "zeromq";
import type { Logger } from "../../process/logger.ts";
import type { CatchUpLimits, Gate } from "./catch-up.ts";
import type { EndpointCounts } from "./counters.ts";
import { BATCH_BYTES_MAX } from "./decode-batch.ts";
import { parseLiveFrames } from "./frames.ts";
import type { PublisherAccount } from "./publisher-account.ts";
import { Replays } from "./replays.ts";

/** A publisher that stays silent is asked again after so many quiet spans. */
const QUIET_SPANS = 10;
/** Messages held by a socket. What is over it waits at the publisher. */
export const MESSAGES_WAITING_MAX = 1_000;

export interface SubscriberTiming {
  /** Between attempts to connect: from the first, doubling to the second. */
  readonly reconnectMs: number;
  readonly reconnectMsMax: number;
  /** A link that is lost and not retried within this time is made anew. */
  readonly deadLinkMs: number;
  /**
   * A silent link is probed this often, and lost when the probe is not answered within twice as long: a
   * host that died says nothing. ZeroMQ's own threads answer, however busy the engine is.
   */
  readonly heartbeatMs: number;
  /**
   * A publisher that was silent this long is asked whether its last word was heard: a lost one shows
   * with the next only, and what is said before the subscription has reached it is lost.
   */
  readonly quietMs: number;
  /** From a failed catch-up to the next, doubling to the second. */
  readonly cooldownMs: number;
  readonly cooldownMsMax: number;
}

export const SUBSCRIBER_TIMING: SubscriberTiming = {
  reconnectMs: 100,
  reconnectMsMax: 1_000,
  deadLinkMs: 1_000,
  heartbeatMs: 1_000,
  quietMs: 1_000,
  cooldownMs: 30_000,
  cooldownMsMax: 600_000,
};

/** What all subscribers of a process have in common. */
export interface SubscriberShared {
  readonly context: Context;
  readonly gate: Gate;
  readonly logger: Logger;
  readonly timing: SubscriberTiming;
  readonly catchUpLimits: CatchUpLimits;
}

export interface KvSubscriberOptions {
  readonly eventsUrl: string;
  /** Null where the publisher offers no replay. */
  readonly replayUrl: string | null;
  readonly account: PublisherAccount;
  readonly counts: EndpointCounts;
  readonly shared: SubscriberShared;
}

export class KvSubscriber {
  readonly #options: KvSubscriberOptions;
  readonly #replays: Replays;
  #socket: Subscriber | undefined;
  #isConnected = false;
  /** What was said while there was no link may be missing still. */
  #isLinkNew = true;
  #connectionCount = 0;
  #deadLink: NodeJS.Timeout | undefined;
  readonly #quietTimer: NodeJS.Timeout;
  /** Since the last message, or the last connection. */
  #quietSpans = 0;

  constructor(options: KvSubscriberOptions) {
    this.#options = options;
    const { account, counts, shared, replayUrl: url } = options;
    this.#replays = new Replays({ url, account, counts, shared });
    this.#quietTimer = setInterval(() => this.#noteQuiet(), shared.timing.quietMs);
    this.#open();
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * Nothing that the publisher has said is known to be on its way: the link stands, and what was said
   * before it did was caught up with, or continues what is known.
   */
  get isCurrent(): boolean {
    return this.#isConnected && !this.#isLinkNew;
  }

  /**
   * Asks the publisher for its last batch again: something may have been missed, or it may be another
   * process than before.
   */
  #checkAgain(): void {
    if (this.#isConnected && this.#replays.canReplay) void this.#catchUp();
  }

  /**
   * The engine is a new process, by another sign than its numbering. It is asked, and may be the one that is
   * known; where it cannot be asked now, its account goes by when what is known was said.
   */
  engineRestarted(startedAtS: number): void {
    if (this.#replays.running !== undefined) return;
    if (this.#isConnected && this.#replays.canReplay) this.#checkAgain();
    else this.#options.account.engineRestarted(startedAtS);
  }

  /** Stops at once. The account is told that its publisher is gone. */
  close(): void {
    this.#replays.close();
    clearTimeout(this.#deadLink);
    clearInterval(this.#quietTimer);
    this.#socket?.close();
    this.#isConnected = false;
    this.#options.account.gone();
  }

  #noteQuiet(): void {
    if (this.#quietSpans++ % QUIET_SPANS === 1) this.#checkAgain();
  }

  #open(): void {
    const { eventsUrl, shared } = this.#options;
    const { timing } = shared;
    const socket = new Subscriber({
      context: shared.context,
      linger: 0,
      ipv6: eventsUrl.includes("["),
      receiveHighWaterMark: MESSAGES_WAITING_MAX,
      maxMessageSize: BATCH_BYTES_MAX,
      reconnectInterval: timing.reconnectMs,
      reconnectMaxInterval: timing.reconnectMsMax,
      heartbeatInterval: timing.heartbeatMs,
      heartbeatTimeout: timing.heartbeatMs * 2,
    });
    this.#socket = socket;
    this.#watch(socket);
    // Every topic: the socket says who speaks, and vLLM's default topic is empty.
    socket.subscribe("");
    try {
      socket.connect(eventsUrl);
    } catch (err) {
      // A host that no resolver would be asked about. The socket stays, and stays silent.
      shared.logger.error({ err, url: eventsUrl }, "kv events cannot be connected to");
    }
    this.#read(socket).catch((err: unknown) => {
      if (this.#replays.isClosed || socket !== this.#socket) return;
      shared.logger.error({ err, url: eventsUrl }, "kv events cannot be read, connecting anew");
      this.#reopenLater();
    });
  }

  #watch(socket: Subscriber): void {
    socket.events.on("handshake", () => {
      if (socket !== this.#socket) return;
      this.#isConnected = true;
      this.#isLinkNew = true;
      this.#quietSpans = 0;
      if (this.#connectionCount++ > 0) this.#options.counts.reconnections++;
      // What failed on the old link may work on the new one.
      this.#replays.again();
      void this.#replays.running?.then(() => this.#caughtUp());
    });
    socket.events.on("disconnect", () => {
      if (socket !== this.#socket) return;
      this.#isConnected = false;
      // After a message above the bound, ZeroMQ gives the link up for good and does not say so.
      this.#reopenLater();
    });
    socket.events.on("connect:retry", () => {
      if (socket === this.#socket) clearTimeout(this.#deadLink);
    });
  }

  #reopenLater(): void {
    clearTimeout(this.#deadLink);
    if (this.#replays.isClosed) return;
    this.#deadLink = setTimeout(() => {
      this.#socket?.close();
      this.#isConnected = false;
      this.#open();
    }, this.#options.shared.timing.deadLinkMs);
  }

  async #read(socket: Subscriber): Promise<void> {
    for await (const frames of socket) {
      this.#options.counts.messages++;
      this.#quietSpans = 0;
      // Not reading is the back-pressure.
      while (this.#replays.running !== undefined) await this.#replays.running;
      // Of a link that was given up meanwhile, this is a gap on the new one.
      if (this.#replays.isClosed || socket !== this.#socket) return;
      await this.#take(frames);
    }
  }

  async #take(frames: Uint8Array[]): Promise<void> {
    const { account, counts } = this.#options;
    const batch = parseLiveFrames(frames);
    if (batch === undefined) {
      counts.skipped.frames++;
      return;
    }
    if (account.takeLive(batch, this.#replays.canReplay) === "taken") {
      this.#isLinkNew = false;
      return;
    }
    counts.breaks.gap++;
    await this.#catchUp();
    if (account.takeLive(batch, this.#replays.canReplay) === "taken") return;
    // The publisher has sent a batch that it does not keep behind others that it does not keep.
    this.#replays.failed();
    account.takeLive(batch, false);
  }

  async #catchUp(): Promise<void> {
    await this.#replays.catchUp();
    this.#caughtUp();
  }

  #caughtUp(): void {
    this.#isLinkNew = false;
  }
}
