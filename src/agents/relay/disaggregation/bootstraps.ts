// What prefillers' bootstrap servers say, for connectors that must know it before a hand-off. Only ever asked
// of the host of an endpoint that was discovered here, and always over plain HTTP: they speak no TLS.
//
//   (nothing) ──ask──► asked ──usable──► kept for keptMs
//                        │ └─others wait for the same answer
//                        └─not usable, none in time──► no answer for failedMs

import { request } from "undici";
import type { Clock } from "../../../scheduler/support/clock.ts";
import type { BootstrapQuery } from "./connector.ts";
import { hostInUrl } from "./connectors/peers.ts";

export const BOOTSTRAP_LIMITS = {
  /** Servers remembered; past it the oldest leaves. */
  serversMax: 1_024,
  /** How long an answer is good: an engine that restarts has another identity. */
  keptMs: 60_000,
  /** How long a server that gave none is not asked again. */
  failedMs: 1_500,
  answerMs: 5_000,
  answerBytesMax: 1024 * 1024,
} as const;

interface Asked {
  /** Undefined if the server gave no usable answer. Never rejects. */
  readonly answer: Promise<unknown>;
  /** Infinity while the answer has not come. */
  untilMs: number;
}

export class Bootstraps {
  readonly #clock: Clock;
  readonly #asked = new Map<string, Asked>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Undefined if the server of that endpoint's host gave no answer that can be used, or the signal was aborted
   * first. Never rejects.
   */
  async ask(prefiller: string, query: BootstrapQuery, signal: AbortSignal): Promise<unknown> {
    const url = `http://${hostInUrl(prefiller)}:${query.port}${query.path}`;
    const known = this.#asked.get(url);
    const isGood = known !== undefined && known.untilMs > this.#clock();
    const { answer } = isGood ? known : this.#ask(url, query);
    return unlessAborted(answer, signal);
  }

  /** A hand-off with that host failed: it may be another engine by now. */
  forget(prefiller: string): void {
    const prefix = `http://${hostInUrl(prefiller)}:`;
    for (const url of this.#asked.keys()) if (url.startsWith(prefix)) this.#asked.delete(url);
  }

  /** The answer is everybody's: it comes also where the request that asked for it has ended. */
  #ask(url: string, query: BootstrapQuery): Asked {
    const answer = get(url).then((said) => (query.isUsable(said) ? said : undefined));
    const asked: Asked = { answer, untilMs: Infinity };
    void answer.then((usable) => {
      const { keptMs, failedMs } = BOOTSTRAP_LIMITS;
      asked.untilMs = this.#clock() + (usable === undefined ? failedMs : keptMs);
    });
    this.#asked.delete(url);
    const [oldest] = this.#asked.keys();
    if (this.#asked.size >= BOOTSTRAP_LIMITS.serversMax) this.#asked.delete(oldest!);
    this.#asked.set(url, asked);
    return asked;
  }
}

async function unlessAborted(answer: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return undefined;
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = () => resolve(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Undefined without a 200 with JSON. */
async function get(url: string): Promise<unknown> {
  try {
    const answer = await request(url, { signal: AbortSignal.timeout(BOOTSTRAP_LIMITS.answerMs) });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > BOOTSTRAP_LIMITS.answerBytesMax) return undefined;
      chunks.push(chunk);
    }
    if (answer.statusCode !== 200) return undefined;
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    // No connection, no answer in time, or no JSON.
    return undefined;
  }
}
