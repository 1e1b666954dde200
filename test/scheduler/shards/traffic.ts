// Prompts as content keys, for tests of shards: what they share, and how often.

import { createRng } from "../../../src/scheduler/support/rng.ts";

export interface Traffic {
  /** Blocks that every prompt begins with. */
  readonly sharedBlocks: number;
  readonly conversations: number;
  /** Of the conversations' popularity; 0 for all alike. */
  readonly zipf: number;
  /** Blocks of a conversation's own before its first turn is over, and per turn. */
  readonly turnBlocks: number;
  readonly turnsMax: number;
  /** Roots that begin differently: models, or system prompts. */
  readonly roots?: number;
}

/** Prompts without an end. A prompt is a conversation so far: each turn adds to it. */
export function createTraffic(traffic: Traffic, seed: number): () => Uint32Array {
  const { sharedBlocks, conversations, zipf, turnBlocks, turnsMax, roots = 1 } = traffic;
  const rng = createRng(seed);
  const choose = createZipf(conversations, zipf, rng);
  const turns = new Int32Array(conversations);
  const life = new Int32Array(conversations);
  return () => {
    const who = choose();
    turns[who]! += 1;
    if (turns[who]! > turnsMax) {
      turns[who] = 1;
      life[who]! += 1;
    }
    const root = who % roots;
    const blocks = sharedBlocks + turns[who]! * turnBlocks;
    const keys = new Uint32Array(2 * blocks);
    for (let block = 0; block < blocks; block++) {
      const isShared = block < sharedBlocks;
      const from = isShared ? root : hash(who + 1, life[who]! + 1_000);
      keys[2 * block] = hash(from, block);
      keys[2 * block + 1] = hash(from + 1, block ^ 0x5555);
    }
    return keys;
  };
}

function createZipf(count: number, exponent: number, rng: () => number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) sums[i] = sum += (i + 1) ** -exponent;
  return () => {
    const at = rng() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function hash(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(b + 0x7f4a_7c15, 0xc2b2_ae35);
  h = Math.imul(h ^ (h >>> 16), 0x21f0_aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a_2d97);
  return (h ^ (h >>> 15)) >>> 0;
}
