// One pool of many objects against one imaginary object with everything: how much of prompts is found in
// the caches of the engines that they are sent to.
//
// Each shard knows of caches what it has learned of its own picks, and of others' load what it was told
// last. That is the worst case: where collectors tell what is resident, every block of a prompt is
// known to its shard, as shard-of.test.ts shows, and nothing is lost at all.

import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { sampleOf } from "../../../src/scheduler/shards/hot-roots.ts";
import { SplitPlanner } from "../../../src/scheduler/shards/plan-splits.ts";
import { prepareShards, shardOf } from "../../../src/scheduler/shards/shard-of.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { createTraffic, type Traffic } from "./traffic.ts";

const ENDPOINTS = 32;
const CACHE_BLOCKS = 2_000;
/** Requests that an endpoint runs on until theirs is over, over the whole pool. */
const IN_FLIGHT = 200;
/** Requests between two messages of each shard to the lead: 250 ms at 2,000 a second. */
const TOLD_EVERY = 500;
const REQUESTS = 12_000;

/** The last so many blocks. */
class Cache {
  readonly #blocks = new Map<number, true>();

  matched(ids: readonly number[]): number {
    let count = 0;
    while (count < ids.length && this.#blocks.has(ids[count]!)) count++;
    return count;
  }

  take(ids: readonly number[]): void {
    // The first block last, so that it is the last to go.
    for (const id of ids.toReversed()) {
      this.#blocks.delete(id);
      this.#blocks.set(id, true);
    }
    for (const id of this.#blocks.keys()) {
      if (this.#blocks.size <= CACHE_BLOCKS) break;
      this.#blocks.delete(id);
    }
  }
}

/** The share of all blocks that was found. */
export function hitRate(map: ShardMap, traffic: Traffic): number {
  const next = createTraffic(traffic, 21);
  const rng = createRng(5);
  const shards = prepareShards(map);
  const engines = Array.from({ length: ENDPOINTS }, () => new Cache());
  const known = Array.from({ length: map.count }, () => engines.map(() => new Cache()));
  const own = known.map(() => new Int32Array(ENDPOINTS));
  const told = known.map(() => new Int32Array(ENDPOINTS));
  const running: { shard: number; endpoint: number }[] = [];
  let hits = 0;
  let blocks = 0;
  for (let i = 0; i < REQUESTS; i++) {
    if (i % TOLD_EVERY === 0) own.forEach((loads, shard) => told[shard]!.set(loads));
    const keys = next();
    const shard = shardOf(keys, shards, Math.floor(rng() * 2 ** 32));
    const ids = Array.from({ length: keys.length / 2 }, (_, at) => keys[2 * at]! * 2 ** 20 + at);
    const caches = known[shard]!;
    let endpoint = 0;
    let best = -Infinity;
    for (let slot = 0; slot < ENDPOINTS; slot++) {
      let load = own[shard]![slot]!;
      for (let other = 0; other < map.count; other++)
        if (other !== shard) load += told[other]![slot]!;
      const excess = load / (IN_FLIGHT / ENDPOINTS);
      const score = (3 * caches[slot]!.matched(ids)) / ids.length - excess + rng() / 1_000;
      if (score <= best) continue;
      best = score;
      endpoint = slot;
    }
    // The caches are filled before anything is measured.
    if (i > REQUESTS / 4) {
      hits += engines[endpoint]!.matched(ids);
      blocks += ids.length;
    }
    engines[endpoint]!.take(ids);
    caches[endpoint]!.take(ids);
    own[shard]![endpoint]! += 1;
    running.push({ shard, endpoint });
    if (running.length > IN_FLIGHT) {
      const [ended] = running.splice(Math.floor(rng() * running.length), 1);
      own[ended!.shard]![ended!.endpoint]! -= 1;
    }
  }
  return hits / blocks;
}

export function plannedMap(count: number, traffic: Traffic): ShardMap {
  const next = createTraffic(traffic, 8);
  const planner = new SplitPlanner();
  let map: ShardMap = { count, version: 0, splits: [] };
  for (let round = 0; round < 8; round++) {
    const samples = Array.from({ length: 1_500 }, () => sampleOf(next(), 1));
    map = planner.plan(map, samples, round * 10_000);
  }
  return map;
}
