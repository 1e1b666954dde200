// Which splits a pool needs, so that no shard has much more to do than the others.
//
//   unit    prompts that go by the same key: they are in one shard
//   heavy   a unit above 1/(2K) of the traffic is split, wherever it is
//   uneven  while the busiest shard has 15 % more than its share, its largest unit is split that can be,
//           down to 1/(8K) of the traffic, if that makes the shards more even
//   cold    a split that less than 1/(32K) of the traffic has met for ten minutes is taken back
//
// Where a unit is split: at the first block at which no more than half of its traffic goes on alike, else
// at the one where the least does. Prompts that are all the same have no such block: they are split at
// their ends, and go where chance sends them, which costs K copies of one prompt.
//
// A split that was made stays until it is cold, so plans of the same traffic settle, and a unit near a
// bound does not go to and fro. What changes at once is bounded by ADDED_MAX.

import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { type ShardMap, type Split, SPLITS_MAX } from "./contracts.ts";
import { placeOf, type PromptSample, SPLIT_BLOCKS, splitBlockAfter } from "./hot-roots.ts";
import { type PreparedShards, prepareShards, shardOfKey, splitBelow } from "./shard-of.ts";

/** Fewer samples say nothing. */
export const PLAN_SAMPLES_MIN = 200;
/** Splits that one plan adds. */
export const ADDED_MAX = 32;
/** For so long a split is kept that hardly anybody meets. */
export const COLD_MS = 600_000;
const UNEVEN = 1.15;
/** Of a unit, in samples: below it is not known where its prompts part. */
const UNIT_SAMPLES_MIN = 8;
const ALIKE_MAX = 0.5;
/** Where even the best block leaves so much together, the prompts are the same one. */
const SAME_SHARE = 0.9;

/** Prompts that go by the same key. */
interface Unit {
  readonly low: number;
  readonly high: number;
  /** The block that the key is of. */
  readonly at: number;
  readonly shard: number;
  readonly samples: PromptSample[];
  weight: number;
}

/** Where the traffic of the samples goes by a map. */
interface Spread {
  readonly units: ReadonlyMap<number, Unit>;
  /** By shard. */
  readonly loads: Float64Array;
  readonly total: number;
  /** What has met each split, by idOf. */
  readonly met: ReadonlyMap<number, number>;
}

/** Keeps since when splits are cold. One a pool, at its lead. */
export class SplitPlanner {
  readonly #coldSinceMs = new Map<number, number>();

  /** The map with which it should go on: the same one where nothing has to change. */
  plan(map: ShardMap, samples: readonly PromptSample[], nowMs: number): ShardMap {
    if (map.count <= 1) return map;
    if (samples.length < PLAN_SAMPLES_MIN) return map;
    const warm = this.#withoutCold(map, spreadOf(map, samples), nowMs);
    const splits = addSplits({ ...map, splits: warm }, samples);
    const isSame = splits.length === map.splits.length && warm.length === map.splits.length;
    return isSame ? map : { count: map.count, version: map.version + 1, splits };
  }

  #withoutCold(map: ShardMap, { met, total }: Spread, nowMs: number): readonly Split[] {
    const known = this.#coldSinceMs;
    const ids = new Set(map.splits.map(([low, high]) => idOf(low, high)));
    for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
    return map.splits.filter(([low, high]) => {
      const id = idOf(low, high);
      const isCold = (met.get(id) ?? 0) < total / (32 * map.count);
      if (!isCold) return known.delete(id) || true;
      const sinceMs = known.get(id) ?? nowMs;
      known.set(id, sinceMs);
      return nowMs - sinceMs < COLD_MS;
    });
  }
}

/** What each shard has of the traffic, by the samples. */
export function loadsOf(map: ShardMap, samples: readonly PromptSample[]): Float64Array {
  const { loads, total } = spreadOf(map, samples);
  return loads.map((load) => load / total);
}

function addSplits(map: ShardMap, samples: readonly PromptSample[]): readonly Split[] {
  let { splits } = map;
  let spread = spreadOf(map, samples);
  const tried = new Set<number>();
  for (let added = 0; added < ADDED_MAX && splits.length < SPLITS_MAX;) {
    const unit = nextUnit(spread, map.count, tried);
    if (unit === undefined) break;
    tried.add(idOf(unit.low, unit.high));
    const split = splitOf(unit);
    if (split === undefined) continue;
    const next = spreadOf({ ...map, splits: [...splits, split] }, samples);
    const isHeavy = unit.weight > spread.total / (2 * map.count);
    if (!isHeavy && unevenness(next) >= unevenness(spread)) continue;
    splits = [...splits, split];
    spread = next;
    added += 1;
  }
  return splits;
}

/** The heaviest unit if it is too heavy, else the heaviest of the busiest shard if that has too much. */
function nextUnit(
  { units, loads, total }: Spread,
  count: number,
  tried: ReadonlySet<number>,
): Unit | undefined {
  let heaviest: Unit | undefined;
  let ofBusiest: Unit | undefined;
  const busiest = loads.indexOf(Math.max(...loads));
  const isUneven = loads[busiest]! > (UNEVEN * total) / count;
  for (const [id, unit] of units) {
    if (tried.has(id) || unit.samples.length < UNIT_SAMPLES_MIN) continue;
    if (unit.weight > (heaviest?.weight ?? total / (2 * count))) heaviest = unit;
    if (!isUneven || unit.shard !== busiest) continue;
    if (unit.weight > (ofBusiest?.weight ?? total / (8 * count))) ofBusiest = unit;
  }
  return heaviest ?? ofBusiest;
}

/** Less is more even. */
function unevenness({ loads }: Spread): number {
  return loads.reduce((sum, load) => sum + load * load, 0);
}

/** Where to split a unit; undefined where it cannot be. */
function splitOf(unit: Unit): Split | undefined {
  const block = blockFor(unit);
  return block === undefined ? undefined : [unit.low, unit.high, block];
}

function blockFor({ at, samples, weight }: Unit): number | undefined {
  let best: number | undefined;
  let least = Infinity;
  let longest = 0;
  for (const { blocks } of samples) longest = Math.max(longest, blocks);
  for (const block of SPLIT_BLOCKS) {
    if (block <= at) continue;
    if (block >= longest) break;
    const alike = largestAlike(samples, block) / weight;
    if (alike <= ALIKE_MAX) return block;
    if (alike < least) {
      least = alike;
      best = block;
    }
  }
  if (least <= SAME_SHARE) return best;
  return splitBlockAfter(Math.max(at, longest - 1)) ?? pastTheEnd(at);
}

function pastTheEnd(at: number): number | undefined {
  return at < CONTENT_KEYS_MAX ? CONTENT_KEYS_MAX : undefined;
}

/** Of the traffic, what is the same at `block`, or ends before it with the same block. */
function largestAlike(samples: readonly PromptSample[], block: number): number {
  const weights = new Map<number, number>();
  let largest = 0;
  for (const sample of samples) {
    const id = idAt(sample, Math.min(block, sample.blocks - 1));
    const weight = (weights.get(id) ?? 0) + sample.weight;
    weights.set(id, weight);
    if (weight > largest) largest = weight;
  }
  return largest;
}

function spreadOf(map: ShardMap, samples: readonly PromptSample[]): Spread {
  const shards = prepareShards(map);
  const units = new Map<number, Unit>();
  const met = new Map<number, number>();
  const loads = new Float64Array(shards.count);
  let total = 0;
  for (const sample of samples) {
    total += sample.weight;
    const at = decidingBlock(sample, shards, met);
    if (at === undefined) {
      // By chance, one as often as another.
      for (let shard = 0; shard < loads.length; shard++)
        loads[shard]! += sample.weight / loads.length;
      continue;
    }
    const unit = unitAt(units, sample, at, shards.count);
    unit.samples.push(sample);
    unit.weight += sample.weight;
    loads[unit.shard]! += sample.weight;
  }
  return { units, loads, total, met };
}

/** As shardOf does it; undefined where there is nothing to go by. */
function decidingBlock(
  sample: PromptSample,
  shards: PreparedShards,
  met: Map<number, number>,
): number | undefined {
  const last = sample.blocks - 1;
  for (let at = 0; at <= last;) {
    const [low, high] = keyAt(sample, at);
    const next = splitBelow(shards, low, high);
    if (next <= at) return at;
    const id = idOf(low, high);
    met.set(id, (met.get(id) ?? 0) + sample.weight);
    if (at === last) return undefined;
    // A block that is not sampled: of a map that another version has made.
    at = Math.min(placeOf(next) === undefined ? (splitBlockAfter(next) ?? last) : next, last);
  }
  return undefined;
}

function unitAt(units: Map<number, Unit>, sample: PromptSample, at: number, count: number): Unit {
  const [low, high] = keyAt(sample, at);
  const id = idOf(low, high);
  let unit = units.get(id);
  if (unit === undefined) {
    unit = { low, high, at, shard: shardOfKey(low, high, count), samples: [], weight: 0 };
    units.set(id, unit);
  }
  return unit;
}

/** Of a block that a split looks at, or the prompt's last one. */
function keyAt(sample: PromptSample, block: number): readonly [low: number, high: number] {
  if (block === sample.blocks - 1) return [sample.lastLow, sample.lastHigh];
  const place = placeOf(block)!;
  return [sample.keys[2 * place]!, sample.keys[2 * place + 1]!];
}

function idAt(sample: PromptSample, block: number): number {
  if (block < 0) return -1;
  const [low, high] = keyAt(sample, block);
  return idOf(low, high);
}

/** 52 of a key's 64 bits: enough to tell a few thousand apart, and a number that is exact. */
function idOf(low: number, high: number): number {
  return low * 2 ** 20 + (high & 0xf_ffff);
}
