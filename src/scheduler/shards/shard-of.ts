// Which of a pool's objects a prompt belongs to, and which of them a block of a prompt is of interest to.
//
//   prompt    at the first block; while there is a split below the block: on to the one that it names.
//             A prompt that ends before goes by its last block; where there is a split below that one
//             too, all it has lives in every shard, and it goes by a number that is its own.
//   block     above a split: every shard's. At one that is decided on, and below: that shard's.
//   shard     jump consistent hash of the block's key: from K shards to K + 1 about 1 / (K + 1) of the
//             keys move, all of them to the new one.
//
// Source: Lamping and Veach, A Fast, Minimal Memory, Consistent Hash Algorithm, 2014; with numbers of 32
// bits. Worker, objects and collectors reckon alike: what it gives must not change.

import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { type ShardMap, SHARDS_MAX, type Split, SPLITS_MAX } from "./contracts.ts";

/** In the place of a shard: all of them. */
export const EVERY_SHARD = -1;

/** A ShardMap to be asked often. Nobody but prepareShards makes one. */
export interface PreparedShards {
  readonly map: ShardMap;
  readonly count: number;
  /** Open addressing with linear probing: two words a slot, and the block to look at, 0 where it is free. */
  readonly keys: Uint32Array;
  readonly blocks: Uint16Array;
}

const SLOTS_MIN = 4;

/** Takes a map that may come from another version: what is out of bounds is left out. */
export function prepareShards(map: ShardMap): PreparedShards {
  const splits = map.splits.filter(isUsable).slice(0, SPLITS_MAX);
  let slots = SLOTS_MIN;
  while (slots < 2 * splits.length) slots *= 2;
  const count = Math.min(SHARDS_MAX, Math.max(1, Math.trunc(map.count)));
  const keys = new Uint32Array(2 * slots);
  const blocks = new Uint16Array(slots);
  const shards = { map, count, keys, blocks };
  for (const [low, high, block] of splits) {
    const slot = slotOf(shards, low >>> 0, high >>> 0);
    keys[2 * slot] = low;
    keys[2 * slot + 1] = high;
    blocks[slot] = block;
  }
  return shards;
}

/**
 * The shard of a prompt with these content keys, two words each. `seed`: for one that has nothing to go
 * by; any number that is the request's own.
 */
// Hot path: shards in bench/. A few probes for each split on the way.
export function shardOf(keys: Uint32Array, shards: PreparedShards, seed: number): number {
  if (shards.count === 1) return 0;
  const last = (keys.length >> 1) - 1;
  if (last < 0) return shardOfKey(seed, 0, shards.count);
  let at = 0;
  for (;;) {
    const low = keys[2 * at]!;
    const high = keys[2 * at + 1]!;
    const next = splitBelow(shards, low, high);
    if (next <= at) return shardOfKey(low, high, shards.count);
    if (at === last) return shardOfKey(seed, 0, shards.count);
    at = next < last ? next : last;
  }
}

/** The shard that the block at the end of these keys is of interest to, or EVERY_SHARD. */
export function shardOfBlock(keys: Uint32Array, shards: PreparedShards): number {
  let walk = WALK_START;
  for (let block = 0; 2 * block < keys.length; block++) {
    walk = walkOn(shards, walk, [block, keys[2 * block]!, keys[2 * block + 1]!]);
  }
  return shardOfWalk(walk);
}

/** A walk down a prompt, before its first block. */
export const WALK_START = 0;

/** Where a walk has got to: plain, so that it can be kept with a block. Only good for one map. */
export type ShardWalk = number;

/** The walk with one block more: its number, from 0 and without a gap, and the words of its key. */
export function walkOn(
  shards: PreparedShards,
  walk: ShardWalk,
  [block, low, high]: readonly [block: number, low: number, high: number],
): ShardWalk {
  // Below 0 it is decided; from 0 on it names the block to look at.
  if (walk < 0 || block < walk) return walk;
  if (shards.count === 1) return ~0;
  const next = splitBelow(shards, low, high);
  return next > block ? next : ~shardOfKey(low, high, shards.count);
}

/** Of the last block of a walk. */
export function shardOfWalk(walk: ShardWalk): number {
  return walk < 0 ? ~walk : EVERY_SHARD;
}

/** The block to look at below that one; 0 where there is no split. */
export function splitBelow(shards: PreparedShards, low: number, high: number): number {
  return shards.blocks[slotOf(shards, low, high)]!;
}

/** Of a key that is looked at and has no split. */
export function shardOfKey(low: number, high: number, count: number): number {
  let state = mix(low ^ mix(high ^ 0x9e37_79b9));
  let shard = 0;
  for (;;) {
    state = (state + 0x6d2b_79f5) >>> 0;
    // Uniform in (0, 1]: the next count of shards at which the key moves.
    const next = Math.floor((shard + 1) / ((mix(state) + 1) / 2 ** 32));
    if (next >= count) return shard;
    shard = next;
  }
}

/** Where the key is, or the free slot where it belongs. At least half of the slots are free. */
function slotOf({ keys, blocks }: PreparedShards, low: number, high: number): number {
  const mask = blocks.length - 1;
  let slot = (low ^ high) & mask;
  while (blocks[slot] !== 0 && (keys[2 * slot] !== low || keys[2 * slot + 1] !== high)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

function isUsable([low, high, block]: Split): boolean {
  const isKey = Number.isInteger(low) && Number.isInteger(high);
  return isKey && Number.isInteger(block) && block > 0 && block <= CONTENT_KEYS_MAX;
}

/** MurmurHash3's finalizer. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
