// A pool's objects together: who is asked for what, what collectors tell to whom, and the split map.
//
//   requests ──shardOf──▶ object ──samples──▶ lead ──split map──▶ objects, isolates, collectors
//   KV events ──shardOfBlock──▶ the object of the block, or all of them
//
// After a change of the map collectors tell an object what it has not been told so far of its blocks.

import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import {
  HotRoots,
  PromptSampler,
  sampleIntervalMs,
} from "../../../src/scheduler/shards/hot-roots.ts";
import { SplitPlanner } from "../../../src/scheduler/shards/plan-splits.ts";
import {
  EVERY_SHARD,
  type PreparedShards,
  prepareShards,
  shardOf,
  shardOfBlock,
} from "../../../src/scheduler/shards/shard-of.ts";
import type { EventQueue } from "../event-queue.ts";
import { type ContentBlock, keysOf } from "./content-names.ts";
import type { PoolObject } from "./pool-object.ts";
import type { Way } from "./ways.ts";

/** Shards tell the lead this often, off requests' way. */
const TOLD_INTERVAL_MS = 1_000;
/** From a new map until collectors have told objects what is theirs by it. */
const RETOLD_AFTER_MS = 200;

export interface ShardSetOptions {
  readonly objects: readonly PoolObject[];
  readonly sharding: Way["sharding"];
  readonly queue: EventQueue;
}

export class ShardSet {
  readonly objects: readonly PoolObject[];
  /** Changes of the split map. */
  changes = 0;
  readonly #queue: EventQueue;
  readonly #samplers: readonly PromptSampler[];
  readonly #roots = new HotRoots();
  readonly #planner = new SplitPlanner();
  readonly #isPlanned: boolean;
  /** By slot, what the engine holds; kept where maps may change. */
  readonly #held: Set<ContentBlock>[] = [];
  #shards: PreparedShards;

  constructor({ objects, sharding, queue }: ShardSetOptions) {
    this.objects = objects;
    this.#queue = queue;
    for (const object of objects) object.setCount(objects.length);
    this.#samplers = objects.map(() => new PromptSampler());
    this.#shards = prepareShards({ count: objects.length, version: 0, splits: [] });
    this.#isPlanned = sharding === "split" && objects.length > 1;
    if (this.#isPlanned) this.#planLater();
  }

  /** As the lead has it. */
  get map(): ShardMap {
    return this.#shards.map;
  }

  get prepared(): PreparedShards {
    return this.#shards;
  }

  /** A request has been decided by `shard`, or for it. */
  observe(keys: Uint32Array, shard: number): void {
    const intervalMs = sampleIntervalMs(this.objects.length);
    this.#samplers[shard]!.observe(keys, this.#queue.nowMs, intervalMs);
  }

  /** What collectors tell of the blocks of the engine in `slot`. */
  blocksChanged(
    slot: number,
    stored: readonly ContentBlock[],
    removed: readonly ContentBlock[],
  ): void {
    if (this.#isPlanned) {
      const held = (this.#held[slot] ??= new Set());
      for (const block of stored) held.add(block);
      for (const block of removed) held.delete(block);
    }
    // What somebody was told by an earlier map is to be taken back there, too.
    this.#tell(removed, this.changes > 0, (object, keys) => object.removed(keys, slot));
    this.#tell(stored, false, (object, keys) => object.stored(keys, slot));
  }

  #tell(
    blocks: readonly ContentBlock[],
    isForAll: boolean,
    tell: (object: PoolObject, keys: Uint32Array) => void,
  ): void {
    if (blocks.length === 0) return;
    for (const object of this.objects) {
      const isFor = (shard: number) => shard === EVERY_SHARD || shard === object.index;
      const told =
        isForAll || this.objects.length === 1
          ? blocks
          : blocks.filter((block) => isFor(this.#shardOf(block)));
      if (told.length > 0) tell(object, keysOf(told));
    }
  }

  #shardOf(block: ContentBlock): number {
    const { version } = this.#shards.map;
    if (block.mapVersion !== version) {
      block.shard = shardOfBlock(block.keys.subarray(0, 2 * block.at + 2), this.#shards);
      block.mapVersion = version;
    }
    return block.shard;
  }

  #planLater(): void {
    this.#queue.add(this.#queue.nowMs + TOLD_INTERVAL_MS, () => {
      const { nowMs } = this.#queue;
      for (const sampler of this.#samplers)
        for (const sample of sampler.take()) this.#roots.add(sample, nowMs);
      const { map } = this.#shards;
      const planned = this.#planner.plan(map, this.#roots.samples(nowMs), nowMs);
      if (planned !== map) this.#change(planned);
      this.#planLater();
    });
  }

  #change(map: ShardMap): void {
    this.changes++;
    this.#shards = prepareShards(map);
    this.#queue.add(this.#queue.nowMs + RETOLD_AFTER_MS, () => this.#tellAgain());
  }

  #tellAgain(): void {
    this.#held.forEach((blocks, slot) =>
      this.#tell([...blocks], false, (object, keys) => object.stored(keys, slot)),
    );
  }
}

/** Where whoever goes by `shards` asks for a request. */
export function shardFor(keys: Uint32Array, shards: PreparedShards, seed: number): number {
  return shardOf(keys, shards, seed);
}
