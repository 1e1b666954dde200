// What a pool's requests begin with: a sample of their prompts, for planning splits.
//
//   every prompt ─► one in a while, standing for all since the one before ─► the last ones of a minute
//
// A sample, not counters of nodes: where prompts that begin alike part is a question about every depth
// at once, and a counter a node would have to exist before it is known which depth matters. A node with
// a share of 1/32 of the traffic is seen 64 times in 2,048 samples, give or take 8.
//
// Of a prompt's keys only those are kept at which a split may look: every block of the first 16 kB, and
// ever fewer of what follows.

import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { SHARDS_MAX } from "./contracts.ts";

/** Samples of a whole pool. */
export const SAMPLES_MAX = 2_048;
/** A sample is good for so long. */
export const SAMPLES_WINDOW_MS = 60_000;
/** Samples in one message to the lead. What is beyond them counts for the next one. */
export const SAMPLES_TOLD_MAX = 32;

/** A prompt, and how many requests it stands for. Plain: shards tell the lead of them. */
export interface PromptSample {
  /** Full blocks. */
  readonly blocks: number;
  /** Keys of the blocks that a split may look at, as far as the prompt has them. */
  readonly keys: Uint32Array;
  readonly lastLow: number;
  readonly lastHigh: number;
  readonly weight: number;
}

/** Blocks that a split may look at, ascending. */
export const SPLIT_BLOCKS: readonly number[] = splitBlocks();

function splitBlocks(): number[] {
  const blocks: number[] = [];
  for (let block = 0; block < CONTENT_KEYS_MAX;) {
    blocks.push(block);
    block += block < 64 ? 1 : block < 256 ? 4 : 32;
  }
  return blocks;
}

const PLACES = new Map(SPLIT_BLOCKS.map((block, place) => [block, place]));

/** Where the block's key is in a sample; undefined for one that no split looks at. */
export function placeOf(block: number): number | undefined {
  return PLACES.get(block);
}

/** The first block of SPLIT_BLOCKS after `block`; undefined after the last one. */
export function splitBlockAfter(block: number): number | undefined {
  return SPLIT_BLOCKS.find((next) => next > block);
}

export function sampleOf(keys: Uint32Array, weight: number): PromptSample {
  const blocks = keys.length >> 1;
  let count = 0;
  while (count < SPLIT_BLOCKS.length && SPLIT_BLOCKS[count]! < blocks) count++;
  const kept = new Uint32Array(2 * count);
  for (let place = 0; place < count; place++) {
    kept[2 * place] = keys[2 * SPLIT_BLOCKS[place]!]!;
    kept[2 * place + 1] = keys[2 * SPLIT_BLOCKS[place]! + 1]!;
  }
  const lastLow = blocks === 0 ? 0 : keys[2 * blocks - 2]!;
  const lastHigh = blocks === 0 ? 0 : keys[2 * blocks - 1]!;
  return { blocks, keys: kept, lastLow, lastHigh, weight };
}

/** How often one of `shards` shards takes a sample, so that all together fill the pool's in time. */
export function sampleIntervalMs(shards: number): number {
  return (SAMPLES_WINDOW_MS / SAMPLES_MAX) * Math.min(SHARDS_MAX, Math.max(1, shards));
}

/** Takes samples of one shard's requests. */
export class PromptSampler {
  #taken: PromptSample[] = [];
  #dueAtMs = -Infinity;
  #seen = 0;

  /** A request has come to this shard. O(1) but for the few that are sampled. */
  observe(keys: Uint32Array, nowMs: number, intervalMs: number): void {
    this.#seen += 1;
    if (nowMs < this.#dueAtMs || this.#taken.length === SAMPLES_TOLD_MAX) return;
    this.#taken.push(sampleOf(keys, this.#seen));
    this.#seen = 0;
    this.#dueAtMs = nowMs + intervalMs;
  }

  /** Those since the last call. */
  take(): PromptSample[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }
}

/** The samples of a whole pool: the newest SAMPLES_MAX, of SAMPLES_WINDOW_MS at most. */
export class HotRoots {
  /** A ring once it is full. */
  readonly #samples: { readonly sample: PromptSample; readonly atMs: number }[] = [];
  #next = 0;

  add(sample: PromptSample, nowMs: number): void {
    if (!isSound(sample)) return;
    this.#samples[this.#next] = { sample, atMs: nowMs };
    this.#next = (this.#next + 1) % SAMPLES_MAX;
  }

  /** In no order that means anything. */
  samples(nowMs: number): PromptSample[] {
    return this.#samples
      .filter(({ atMs }) => nowMs - atMs < SAMPLES_WINDOW_MS)
      .map(({ sample }) => sample);
  }
}

/** Another version's may be sampled otherwise. */
function isSound({ blocks, keys, weight }: PromptSample): boolean {
  const isCounted = Number.isInteger(blocks) && blocks >= 0 && weight > 0 && weight < Infinity;
  let count = 0;
  while (count < SPLIT_BLOCKS.length && SPLIT_BLOCKS[count]! < blocks) count++;
  return isCounted && keys instanceof Uint32Array && keys.length === 2 * count;
}
