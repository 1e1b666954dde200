// How long KV blocks take from one engine to another.
//
//   transfer = latency + tokens · time a token        time a token = bytes a token / bandwidth
//
// One engine's transfers share its link: one after another, as each would saturate it. Setting one up
// does not take the link. A first contact may take long besides: engines exchange their memory layouts.
//
// Source: llm-d-inference-sim pkg/llm-d-inference-sim/latencies.go, docs/latency-profiles.md.

export interface TransferTiming {
  /** Setting up each transfer. */
  readonly latencyMs: number;
  readonly msPerToken: number;
  /** Once for each engine that is read from. */
  readonly handshakeMs: number;
}

/** A model's KV cache takes so much of a link for each token. */
export function transferMsPerToken(bytesPerToken: number, gigabytesPerSecond: number): number {
  return bytesPerToken / (gigabytesPerSecond * 1e6);
}

/** Engines one link remembers having met; the oldest is forgotten, and met anew. */
const PEERS_MAX = 1_024;

/** The link by which one engine reads from others. */
export class TransferLink {
  readonly #timing: TransferTiming;
  readonly #met = new Set<string>();
  #freeAtMs = 0;

  constructor(timing: TransferTiming) {
    this.#timing = timing;
  }

  /** Begins to read `tokens` from `peer` at `nowMs`, and gives when they are there. */
  begin(peer: string, tokens: number, nowMs: number): number {
    const { latencyMs, msPerToken, handshakeMs } = this.#timing;
    const setUpMs = latencyMs + (this.#met.has(peer) ? 0 : handshakeMs);
    if (!this.#met.has(peer) && this.#met.size >= PEERS_MAX) {
      for (const oldest of this.#met) {
        this.#met.delete(oldest);
        break;
      }
    }
    this.#met.add(peer);
    const startsAtMs = Math.max(nowMs + setUpMs, this.#freeAtMs);
    this.#freeAtMs = startsAtMs + tokens * msPerToken;
    return this.#freeAtMs;
  }
}
