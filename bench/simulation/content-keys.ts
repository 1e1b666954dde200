// The router's keys of a prompt whose blocks have names: two words a block, like the Worker's.

import { CONTENT_BLOCK_TOKENS, CONTENT_KEYS_MAX } from "../../src/scheduler/kv/content-keys.ts";
import { BLOCK_TOKENS, type WorkloadRequest } from "./workload.ts";

/** Blocks of an engine in one of the router. */
const BLOCKS_PER_KEY = CONTENT_BLOCK_TOKENS / BLOCK_TOKENS;

/** Keys of the prompt. A name covers everything before its block, and so does a key. */
export function contentKeys({ blocks, promptTokens }: WorkloadRequest): Uint32Array {
  const count = Math.min(Math.floor(promptTokens / CONTENT_BLOCK_TOKENS), CONTENT_KEYS_MAX);
  const keys = new Uint32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const name = blocks[(i + 1) * BLOCKS_PER_KEY - 1]!;
    keys[2 * i] = mix(name, 0x9e3779b9);
    keys[2 * i + 1] = mix(name, 0x85ebca6b);
  }
  return keys;
}

/** The finalizer of MurmurHash3: different names give different words. */
function mix(name: number, seed: number): number {
  let h = (name ^ seed) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
