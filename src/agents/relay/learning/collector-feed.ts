// Tells one collector everything that was learned, in order, and again when it has begun anew. While it is
// away nothing gathers here: what it has not heard stays in the store as long as there is room.

import { Agent } from "undici";
import { epochSchema, LEARNED_PATH } from "../../learning/learned-message.ts";
import type { LearnedStore } from "./learned-store.ts";

/** How soon a collector that began anew is noticed while there is nothing to tell. */
const HEARTBEAT_MS = 1_000;
const ASK_MS_MAX = 5_000;
const RETRY_BASE_MS = 100;
/** A collector that began anew knows nothing until it is told again, so it is not kept waiting for long. */
const RETRY_CAP_MS = 1_000;
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
  readonly onTold: (outcome: ToldOutcome) => void;
}

type Answer =
  | { readonly kind: "taken"; readonly epoch: string }
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
    if (this.#failures === 0) this.#endPause?.();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#endPause?.();
    await this.#agent.destroy();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#hasNews = false;
      const message = this.#options.store.after(this.#told);
      const answer = await this.#send(message?.bytes);
      if (this.#closing.signal.aborted) return;
      if (message !== undefined) this.#options.onTold(answer.kind);
      if (answer.kind === "failed" || answer.kind === "unauthorized") {
        await this.#pause(retryMs(this.#failures++, Math.random()));
        continue;
      }
      this.#failures = 0;
      if (message !== undefined) this.#told = message.number;
      if (answer.kind === "taken" && answer.epoch !== this.#epoch) {
        // It has forgotten what the one before it was told.
        if (this.#epoch !== undefined) this.#told = 0;
        this.#epoch = answer.epoch;
      } else if (message === undefined && !this.#hasNews) {
        await this.#pause(HEARTBEAT_MS);
      }
    }
  }

  async #send(body: Buffer | undefined): Promise<Answer> {
    const { url, token } = this.#options;
    try {
      const { statusCode, body: answer } = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname.replace(/\/+$/, "")}${LEARNED_PATH}`,
        method: body === undefined ? "GET" : "POST",
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        body: body ?? null,
        signal: AbortSignal.any([AbortSignal.timeout(ASK_MS_MAX), this.#closing.signal]),
      });
      if (statusCode === 200) {
        return { kind: "taken", epoch: epochSchema.parse(await answer.json()).epoch };
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
