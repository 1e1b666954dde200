// Tells one collector everything that was learned, in order, and again when it has begun anew. While it is
// away nothing gathers here: what it has not heard stays in the store as long as there is room.
//
//   away ──heard──► not ready ──► told again, many a message ──► caught up: told what is new
//    ▲  asked each half second      asked each 200 ms                        │
//    └───────────────────────────── another epoch, or away ◄─────────────────┘

import { Agent } from "undici";
import {
  CAUGHT_UP_HEADER,
  type Heard,
  heardSchema,
  joinLearned,
  LEARNED_LIMITS,
  LEARNED_PATH,
} from "../../learning/learned-message.ts";
import type { LearnedStore, StoredMessage } from "./learned-store.ts";

/** How soon a collector that began anew is noticed while there is nothing to tell. */
const HEARTBEAT_MS = 1_000;
const ASK_MS_MAX = 5_000;
const RETRY_BASE_MS = 100;
/** A collector that began anew knows nothing until it is told again, so it is not kept waiting for long. */
const RETRY_CAP_MS = 500;
/** It has begun anew and waits for its engines' first blocks: it can be told from then on. */
const NOT_READY_MS = 200;
/** Of several messages; the commas between them come on top. */
const ROOM_BYTES = LEARNED_LIMITS.bodyBytesMax - 2 * LEARNED_LIMITS.promptsMax;
/** More than any answer has. */
const ANSWER_BYTES_MAX = 64 * 1024;

/**
 * A metric label. `refused`: the collector did not take it, and is not told it again; `unauthorized`: it has
 * another token.
 */
export type ToldOutcome = "taken" | "refused" | "unauthorized" | "failed";

export interface CollectorFeedOptions {
  /** Of the collector's learning port. */
  readonly url: URL;
  /** One of its host's addresses. */
  readonly address: { readonly address: string; readonly family: number };
  /** The pool's agent token. */
  readonly token: string;
  readonly store: LearnedStore;
  /** So many prompts. */
  readonly onTold: (outcome: ToldOutcome, count: number) => void;
}

type Answer =
  | { readonly kind: "taken"; readonly heard: Heard }
  /** It was heard, and is not wanted. */
  | { readonly kind: "refused" }
  /** It is told again. */
  | { readonly kind: "unauthorized" | "failed" };

export class CollectorFeed {
  readonly #options: CollectorFeedOptions;
  readonly #agent: Agent;
  readonly #closing = new AbortController();
  #hasNews = false;
  #endPause: (() => void) | undefined;
  #told = 0;
  #epoch: string | undefined;
  /** What was stored when its present life was met: before it has that, it knows a part. */
  #toldAgainUpTo = 0;
  #promptsMax = 1;
  /**
   * Twice as many each time that they are taken: a collector that cannot keep up is not told the same for ever. Half as
   * many each time that they are refused, until the wrong one stands alone.
   */
  #atOnce = 1;
  /** Up to there one is wrong: no more at once before it is found. Another life may be of a release that takes it. */
  #refusedUpTo = 0;
  #isReady = true;
  #failures = 0;

  constructor(options: CollectorFeedOptions) {
    this.#options = options;
    const { address } = options;
    this.#agent = new Agent({
      connections: 1,
      maxResponseSize: ANSWER_BYTES_MAX,
      // The URL's host stays what is asked for, and what a certificate is for.
      connect: { lookup: (_host, _options, done) => done(null, [{ ...address }]) },
    });
    void this.#run();
  }

  /** There is something new in the store. */
  wake(): void {
    this.#hasNews = true;
    if (this.#failures === 0 && this.#isReady) this.#endPause?.();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#endPause?.();
    await this.#agent.destroy();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#hasNews = false;
      const some = this.#isReady ? this.#next() : [];
      const answer = await this.#send(some);
      if (this.#closing.signal.aborted) return;
      if (answer.kind === "failed" || answer.kind === "unauthorized") {
        if (some.length > 0) this.#options.onTold(answer.kind, some.length);
        this.#atOnce = 1;
        await this.#pause(retryMs(this.#failures++, Math.random()));
        continue;
      }
      this.#failures = 0;
      if (answer.kind === "refused" && some.length > 1) {
        this.#atOnce = Math.floor(some.length / 2);
        this.#refusedUpTo = some.at(-1)!.number;
        continue;
      }
      if (some.length > 0) {
        this.#options.onTold(answer.kind, some.length);
        this.#told = some.at(-1)!.number;
      }
      if (answer.kind === "taken" && this.#told >= this.#refusedUpTo) {
        this.#atOnce = Math.min(this.#atOnce * 2, LEARNED_LIMITS.promptsMax);
      }
      const isAnew = answer.kind === "taken" && this.#heard(answer.heard);
      if (!this.#isReady) await this.#pause(NOT_READY_MS);
      else if (!isAnew && some.length === 0 && !this.#hasNews) await this.#pause(HEARTBEAT_MS);
    }
  }

  #next(): readonly StoredMessage[] {
    const countMax = Math.min(this.#atOnce, this.#promptsMax);
    return this.#options.store.someAfter(this.#told, { countMax, bytesMax: ROOM_BYTES });
  }

  /** Whether it is another life than before. */
  #heard({ epoch, promptsMax = 1, isReady = true }: Heard): boolean {
    this.#promptsMax = Math.min(promptsMax, LEARNED_LIMITS.promptsMax);
    this.#isReady = isReady;
    if (epoch === this.#epoch) return false;
    // It has forgotten what the one before it was told.
    if (this.#epoch !== undefined) this.#told = 0;
    this.#refusedUpTo = 0;
    this.#epoch = epoch;
    this.#toldAgainUpTo = this.#options.store.last;
    return true;
  }

  /** The life that knows all that was known when it was met, once it has these. */
  #caughtUp(some: readonly StoredMessage[]): string {
    const told = some.at(-1)?.number ?? this.#told;
    return this.#isReady && told >= this.#toldAgainUpTo ? (this.#epoch ?? "") : "";
  }

  async #send(some: readonly StoredMessage[]): Promise<Answer> {
    const { url, token } = this.#options;
    const body = some.length === 0 ? undefined : joinLearned(some.map(({ bytes }) => bytes));
    try {
      const { statusCode, body: answer } = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname.replace(/\/+$/, "")}${LEARNED_PATH}`,
        method: body === undefined ? "GET" : "POST",
        headers: {
          authorization: `Bearer ${token}`,
          [CAUGHT_UP_HEADER]: this.#caughtUp(some),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        body: body ?? null,
        signal: AbortSignal.any([AbortSignal.timeout(ASK_MS_MAX), this.#closing.signal]),
      });
      if (statusCode === 200) {
        return { kind: "taken", heard: heardSchema.parse(await answer.json()) };
      }
      await answer.dump();
      if (statusCode === 401) return { kind: "unauthorized" };
      return { kind: statusCode === 400 || statusCode === 413 ? "refused" : "failed" };
    } catch {
      // Away, slow, or something else that listens there.
      return { kind: "failed" };
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#endPause = resolve;
    await promise;
    clearTimeout(timer);
    this.#endPause = undefined;
  }
}

/** Half of it by `draw`, which is in [0, 1), so that relays do not come back together. */
export function retryMs(failures: number, draw: number): number {
  const mostMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** failures);
  return mostMs * (0.5 + draw / 2);
}
