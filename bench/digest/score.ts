// How far off a digest is, and what following it is worth.

import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";

/** Of what digests say of requests, one number a pool. */
export class Score {
  #pairs = 0;
  #offBlocks = 0;
  #overBlocks = 0;
  #requests = 0;
  #foundBlocks = 0;
  #mostBlocks = 0;
  #meanBlocks = 0;

  add(said: readonly number[], held: readonly number[]): void {
    said.forEach((blocks, pool) => {
      this.#offBlocks += Math.abs(blocks - held[pool]!);
      this.#overBlocks += Math.max(0, blocks - held[pool]!);
    });
    this.#pairs += said.length;
    this.#requests += 1;
    this.#foundBlocks += held[said.indexOf(Math.max(...said))]!;
    this.#mostBlocks += Math.max(...held);
    this.#meanBlocks += held.reduce((sum, blocks) => sum + blocks, 0) / held.length;
  }

  /** Mean of the differences, without their signs. */
  get offTokens(): number {
    return (this.#offBlocks / this.#pairs) * CONTENT_BLOCK_TOKENS;
  }

  /** Mean of what is said beyond what is there. */
  get overTokens(): number {
    return (this.#overBlocks / this.#pairs) * CONTENT_BLOCK_TOKENS;
  }

  /** Tokens found cached where the digests say that the most are, of those found where the most are. */
  get hitShare(): number {
    return this.#foundBlocks / this.#mostBlocks;
  }

  /** The same for whoever chooses blindly. */
  get blindShare(): number {
    return this.#meanBlocks / this.#mostBlocks;
  }

  /** What there is to find in a prompt. */
  get meanHeldTokens(): number {
    return (this.#mostBlocks / this.#requests) * CONTENT_BLOCK_TOKENS;
  }
}
