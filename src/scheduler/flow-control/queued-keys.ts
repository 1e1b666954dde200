// The keys that a request keeps while it waits: so many hold about 1 kB, whatever its prompt.
//
//   blocks   0 1 2 │ 3 4 5 │ 6 7 8 │ 9         a prompt of ten blocks, at most three keys
//   kept         2       5       8             each the last of its stride
//
//   widened      2 2 2 5 5 5 8 8 8             what a decision is shown in place of all keys
//
// A content key names its block and all before it, so an endpoint that holds the n-th kept one without a
// gap holds n strides. What is lost is less than a stride at the end of a match.

import { QUEUED_KEYS_MAX, type QueuedRequest } from "./contracts.ts";

type QueuedKeys = Pick<QueuedRequest, "keys" | "blocksPerKey">;

/** `keys`: two words each. */
export function thinKeys(keys: Uint32Array): QueuedKeys {
  const blocks = keys.length / 2;
  const blocksPerKey = Math.max(1, Math.ceil(blocks / QUEUED_KEYS_MAX));
  const kept = new Uint32Array(2 * Math.floor(blocks / blocksPerKey));
  for (let i = 0; i < kept.length; i += 2) {
    const at = (i + 2) * blocksPerKey - 2;
    kept[i] = keys[at]!;
    kept[i + 1] = keys[at + 1]!;
  }
  return { keys: kept, blocksPerKey };
}

/**
 * Keys to find a prompt by that waited with a part of its own: each kept one stands for its stride, so
 * what matches is counted in blocks. They are for looking up, not for learning.
 */
export function widenKeys({ keys, blocksPerKey }: QueuedKeys): Uint32Array {
  if (blocksPerKey === 1) return keys;
  const wide = new Uint32Array(keys.length * blocksPerKey);
  for (let i = 0; i < wide.length; i += 2) {
    const kept = 2 * Math.floor(i / 2 / blocksPerKey);
    wide[i] = keys[kept]!;
    wide[i + 1] = keys[kept + 1]!;
  }
  return wide;
}
