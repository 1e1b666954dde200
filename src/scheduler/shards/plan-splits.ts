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
//
// All samples are walked once; a split concerns those of its unit and no others. The lead has other things to
// do meanwhile, so a plan is made in steps: none of them looks at more than a part of the samples.

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
/** Samples that are walked in a step, and looked at for where they part. */
const STEP_SAMPLES = 256;

/** Nothing, until the end: somebody else may do something between two. */
type Steps<T> = Generator<undefined, T, undefined>;

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

/** Where the traffic of samples goes by a map. */
interface Spread {
  readonly units: Map<number, Unit>;
  /** By shard. */
  readonly loads: Float64Array;
  /** What has met each split, by idOf. */
  readonly met: Map<number, number>;
}

/** Keeps since when splits are cold. One a pool, at its lead. */
export class SplitPlanner {
  readonly #coldSinceMs = new Map<number, number>();

  /** The map with which it should go on: the same one where nothing has to change. */
  plan(map: ShardMap, samples: readonly PromptSample[], nowMs: number): ShardMap {
    return endOf(this.steps(map, samples, nowMs));
  }

  /** The same in steps that are short. */
  *steps(map: ShardMap, samples: readonly PromptSample[], nowMs: number): Steps<ShardMap> {
    if (map.count <= 1 || samples.length < PLAN_SAMPLES_MIN) return map;
    let spread = yield* spreadOf(map, samples);
    const warm = this.#withoutCold(map, spread, nowMs);
    const isWarm = warm.length === map.splits.length;
    if (!isWarm) spread = yield* spreadOf({ ...map, splits: warm }, samples);
    const splits = yield* new AddedSplits({ ...map, splits: warm }, spread).steps();
    const isSame = isWarm && splits.length === map.splits.length;
    return isSame ? map : { count: map.count, version: map.version + 1, splits };
  }

  #withoutCold(map: ShardMap, { met, loads }: Spread, nowMs: number): readonly Split[] {
    const known = this.#coldSinceMs;
    const total = sumOf(loads);
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
  const { loads } = endOf(spreadOf(map, samples));
  const total = sumOf(loads);
  return loads.map((load) => load / total);
}

/** The splits of a map, and those that it needs besides. */
class AddedSplits {
  readonly #map: ShardMap;
  readonly #spread: Spread;
  readonly #total: number;
  readonly #tried = new Set<number>();
  #splits: readonly Split[];
  #added = 0;

  /** `spread`: of the samples by the map. */
  constructor(map: ShardMap, spread: Spread) {
    this.#map = map;
    this.#splits = map.splits;
    this.#spread = spread;
    this.#total = sumOf(spread.loads);
  }

  /** All splits, at the end. */
  *steps(): Steps<readonly Split[]> {
    while (this.#added < ADDED_MAX && this.#splits.length < SPLITS_MAX) {
      const unit = this.#nextUnit();
      if (unit === undefined) break;
      this.#tried.add(idOf(unit.low, unit.high));
      const block = yield* blockFor(unit);
      if (block !== undefined) yield* this.#try(unit, [unit.low, unit.high, block]);
    }
    return this.#splits;
  }

  /** Adds the split of a unit that is heavy, or where it makes the shards more even. */
  *#try(unit: Unit, split: Split): Steps<void> {
    const splits = [...this.#splits, split];
    // Nobody but those who go by its key meets the split.
    const parts = yield* spreadOf({ ...this.#map, splits }, unit.samples);
    const loads = this.#loadsWith(unit, parts);
    const isHeavy = unit.weight > this.#total / (2 * this.#map.count);
    if (!isHeavy && unevenness(loads) >= unevenness(this.#spread.loads)) return;
    this.#splits = splits;
    this.#added += 1;
    this.#replace(unit, parts, loads);
  }

  /** The heaviest unit if it is too heavy, else the heaviest of the busiest shard if that has too much. */
  #nextUnit(): Unit | undefined {
    const { units, loads } = this.#spread;
    const { count } = this.#map;
    const total = this.#total;
    let heaviest: Unit | undefined;
    let ofBusiest: Unit | undefined;
    const busiest = loads.indexOf(Math.max(...loads));
    const isUneven = loads[busiest]! > (UNEVEN * total) / count;
    for (const [id, unit] of units) {
      if (unit.samples.length < UNIT_SAMPLES_MIN || this.#tried.has(id)) continue;
      if (unit.weight > (heaviest?.weight ?? total / (2 * count))) heaviest = unit;
      if (!isUneven || unit.shard !== busiest) continue;
      if (unit.weight > (ofBusiest?.weight ?? total / (8 * count))) ofBusiest = unit;
    }
    return heaviest ?? ofBusiest;
  }

  #loadsWith({ shard, weight }: Unit, parts: Spread): Float64Array {
    const loads = this.#spread.loads.map((load, index) => load + parts.loads[index]!);
    loads[shard]! -= weight;
    return loads;
  }

  #replace({ low, high }: Unit, parts: Spread, loads: Float64Array): void {
    const { units } = this.#spread;
    units.delete(idOf(low, high));
    for (const [id, part] of parts.units) units.set(id, part);
    this.#spread.loads.set(loads);
  }
}

/** Less is more even. */
function unevenness(loads: Float64Array): number {
  return loads.reduce((sum, load) => sum + load * load, 0);
}

/** Below which block to split a unit; undefined where it cannot be. */
function* blockFor({ at, samples, weight }: Unit): Steps<number | undefined> {
  const longest = samples.reduce((most, { blocks }) => Math.max(most, blocks), 0);
  const blocks = SPLIT_BLOCKS.filter((block) => block > at && block < longest);
  const last = blocks.at(-1);
  if (last !== undefined) {
    const least = yield* largestAlike(samples, last);
    const most = Math.max(least, ALIKE_MAX * weight);
    if (least <= SAME_SHARE * weight) return yield* firstAlike(samples, blocks, most);
  }
  return splitBlockAfter(Math.max(at, longest - 1)) ?? pastTheEnd(at);
}

/** The first of the blocks at which no more than `most` is alike. From block to block it never becomes more. */
function* firstAlike(
  samples: readonly PromptSample[],
  blocks: readonly number[],
  most: number,
): Steps<number> {
  let from = 0;
  let to = blocks.length - 1;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((yield* largestAlike(samples, blocks[middle]!)) <= most) to = middle;
    else from = middle + 1;
  }
  return blocks[from]!;
}

function pastTheEnd(at: number): number | undefined {
  return at < CONTENT_KEYS_MAX ? CONTENT_KEYS_MAX : undefined;
}

/** Of the traffic, what is the same at `block`, or ends before it with the same block. */
function* largestAlike(samples: readonly PromptSample[], block: number): Steps<number> {
  const weights = new Map<number, number>();
  let largest = 0;
  for (const [i, sample] of samples.entries()) {
    if (i % STEP_SAMPLES === STEP_SAMPLES - 1) yield;
    const id = idAt(sample, Math.min(block, sample.blocks - 1));
    const weight = (weights.get(id) ?? 0) + sample.weight;
    weights.set(id, weight);
    if (weight > largest) largest = weight;
  }
  return largest;
}

function* spreadOf(map: ShardMap, samples: readonly PromptSample[]): Steps<Spread> {
  const shards = prepareShards(map);
  const units = new Map<number, Unit>();
  const met = new Map<number, number>();
  const loads = new Float64Array(shards.count);
  for (const [i, sample] of samples.entries()) {
    if (i % STEP_SAMPLES === STEP_SAMPLES - 1) yield;
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
  return { units, loads, met };
}

function endOf<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

function sumOf(loads: Float64Array): number {
  return loads.reduce((sum, load) => sum + load, 0);
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
