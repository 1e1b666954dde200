// The words that stand for a pair of a content key and a slot in a digest.
//
//   low      as the key has it      what sampling and the stride go by: the same for all holders of a block
//   high     the key's ^ mix[slot]  where the pair's bits begin
//
// Sampling by the key alone leaves the same blocks in for every endpoint: estimates of two endpoints that hold
// the same err alike.

import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";

const MIXES = Uint32Array.from({ length: ENDPOINTS_MAX }, (_, slot) => mixed(slot + 1));

/** Murmur3's finalizer: every bit of the number reaches every bit of the word. */
export function mixed(number: number): number {
  let word = number;
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return (word ^ (word >>> 16)) >>> 0;
}

/** The high word of the pair; unsigned. `slot` is below ENDPOINTS_MAX. */
export function pairHigh(high: number, slot: number): number {
  return (high ^ MIXES[slot]!) >>> 0;
}
