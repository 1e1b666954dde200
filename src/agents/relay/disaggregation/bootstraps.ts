// What prefillers' bootstrap servers say, for connectors that must know it before a hand-off: asked once,
// and kept for a while. Only ever asked of the host of an endpoint that was discovered here.

import { request } from "undici";
import type { Clock } from "../../../scheduler/support/clock.ts";
import { hostInUrl } from "./connectors/peers.ts";

export const BOOTSTRAP_LIMITS = {
  /** Hosts remembered; past it the oldest leaves. */
  hostsMax: 1_024,
  /** How long an answer is good: an engine that restarts has another identity. */
  keptMs: 60_000,
  answerMs: 5_000,
  answerBytesMax: 1024 * 1024,
} as const;

interface Known {
  readonly value: unknown;
  readonly untilMs: number;
}

export class Bootstraps {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined if the server of that endpoint's host did not answer with JSON. Never rejects. */
  async ask(
    prefiller: string,
    at: { readonly port: number; readonly path: string },
    signal: AbortSignal,
  ): Promise<unknown> {
    const url = `http://${hostInUrl(prefiller)}:${at.port}${at.path}`;
    const known = this.#known.get(url);
    if (known !== undefined && known.untilMs > this.#clock()) return known.value;
    const value = await get(url, signal);
    this.#known.delete(url);
    if (value === undefined) return undefined;
    const [oldest] = this.#known.keys();
    if (this.#known.size >= BOOTSTRAP_LIMITS.hostsMax) this.#known.delete(oldest!);
    this.#known.set(url, { value, untilMs: this.#clock() + BOOTSTRAP_LIMITS.keptMs });
    return value;
  }

  /** A hand-off with that host failed: it may be another engine by now. */
  forget(prefiller: string): void {
    const prefix = `http://${hostInUrl(prefiller)}:`;
    for (const url of this.#known.keys()) if (url.startsWith(prefix)) this.#known.delete(url);
  }
}

async function get(url: string, signal: AbortSignal): Promise<unknown> {
  const overdue = AbortSignal.timeout(BOOTSTRAP_LIMITS.answerMs);
  try {
    const answer = await request(url, { signal: AbortSignal.any([signal, overdue]) });
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
