// How far off an isolate's copy of a pool's knowledge is, and what following it is worth.

import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import type { PairDigest } from "../../src/scheduler/edge/pair-digest.ts";

/** What asking has to save for a request to be asked about: a round trip of 40 ms at 0.1 ms a token. */
const WORTH_TOKENS = 400;

/** Of what a copy says of requests, one number an endpoint. */
export class PairScore {
  readonly #likely: Int32Array;
  readonly #bounds: Int32Array;
  #requests = 0;
  #offBlocks = 0;
  #foundBlocks = 0;
  #mostBlocks = 0;
  #inVain = 0;

  constructor(endpoints: number) {
    this.#likely = new Int32Array(endpoints);
    this.#bounds = new Int32Array(endpoints);
  }

  /** `held`: of the prompt, by endpoint, now. */
  add(copy: PairDigest, held: Int32Array, keys: Uint32Array): void {
    copy.ask(keys);
    let best = 0;
    let most = 0;
    let missed = 0;
    for (let slot = 0; slot < held.length; slot++) {
      copy.match(slot, this.#likely, this.#bounds);
      if (this.#likely[slot]! > this.#likely[best]!) best = slot;
      if (held[slot]! > held[most]!) most = slot;
      missed = Math.max(missed, this.#bounds[slot]! - this.#likely[slot]!);
    }
    this.#requests += 1;
    this.#offBlocks += Math.abs(this.#likely[most]! - held[most]!);
    this.#foundBlocks += held[best]!;
    this.#mostBlocks += held[most]!;
    if (missed * CONTENT_BLOCK_TOKENS > WORTH_TOKENS) this.#inVain += 1;
  }

  /** Mean error of the match at the endpoint that holds the most. */
  get offTokens(): number {
    return (this.#offBlocks / this.#requests) * CONTENT_BLOCK_TOKENS;
  }

  /** Tokens cached where the copy says that the most are, of those where the most are. */
  get hitShare(): number {
    return this.#foundBlocks / this.#mostBlocks;
  }

  /** What there is to find in a prompt. */
  get meanHeldTokens(): number {
    return (this.#mostBlocks / this.#requests) * CONTENT_BLOCK_TOKENS;
  }

  /** Requests of which a copy cannot say closely enough what endpoints hold: the object is asked. */
  get inVainShare(): number {
    return this.#inVain / this.#requests;
  }
}
