// PrefixTree against a Map of Sets: bytes a block, and time a key looked up.

import { PrefixTree } from "../src/scheduler/kv/prefix-tree.ts";
import { createRng, type Rng } from "../src/scheduler/support/rng.ts";
import { liveBytes, type Measurement, nanosecondsPerCall, sink } from "./measure.ts";
import { NaivePrefixIndex } from "./naive-prefix-index.ts";

const BENCH = "prefix-tree";
const AGAINST = "Map<bigint, Set>";
const BLOCKS = 1_000_000;
const PATH_BLOCKS = 100;
const SLOTS = 64;
const SPREAD_STRIDE = 7_919;
/** The tree's default bound; the naive index has none. */
const BYTES_MAX = 48 * 1024 * 1024;

/** Share of the paths and how many endpoints hold each: two on average. */
const HOLDER_MIXES = {
  // A few system prompts everywhere, conversations mostly in one place.
  conversations: [
    { share: 0.75, holders: 1 },
    { share: 0.12, holders: 2 },
    { share: 0.08, holders: 4 },
    { share: 0.04, holders: 12 },
    { share: 0.01, holders: 21 },
  ],
  // The hardest for a tree of this kind: many sets just past the size of a small one.
  adverse: [
    { share: 0.875, holders: 1 },
    { share: 0.125, holders: 9 },
  ],
} as const;
type HolderMix = (typeof HOLDER_MIXES)[keyof typeof HOLDER_MIXES];

interface Path {
  readonly keys: Uint32Array;
  readonly slots: readonly number[];
}

function holdersOf(mix: HolderMix, at: number): number {
  let below = 0;
  for (const { share, holders } of mix) {
    below += share;
    if (at < below - 1e-9) return holders;
  }
  return mix[0].holders;
}

function* paths(mix: HolderMix, count: number): Generator<Path> {
  const rng: Rng = createRng(11);
  for (let p = 0; p < count; p++) {
    const keys = new Uint32Array(PATH_BLOCKS * 2);
    for (let i = 0; i < keys.length; i++) keys[i] = rng() * 4_294_967_296;
    // A prime stride spreads the mix evenly over the time of growth.
    const holders = holdersOf(mix, ((p * SPREAD_STRIDE) % count) / count);
    const first = Math.floor(rng() * SLOTS);
    yield { keys, slots: Array.from({ length: holders }, (_, h) => (first + h * 3) % SLOTS) };
  }
}

function asBigints(keys: Uint32Array): BigUint64Array {
  return new BigUint64Array(keys.buffer, keys.byteOffset, keys.length / 2);
}

function fill(insert: (path: Path) => void, mix: HolderMix, blocks: number): void {
  for (const path of paths(mix, blocks / PATH_BLOCKS)) insert(path);
}

function createTree(mix: HolderMix, blocks: number): PrefixTree {
  const tree = new PrefixTree({ bytesMax: BYTES_MAX });
  fill(({ keys, slots }) => slots.forEach((slot) => tree.insert(keys, slot)), mix, blocks);
  if (tree.leftOut > 0 || tree.evicted.bytes > 0) {
    throw new Error(`left out ${tree.leftOut}, evicted ${tree.evicted.bytes}: not a fair figure`);
  }
  return tree;
}

/** Bytes by the tree's own count and by the process's, and the naive index's by the process's. */
function* measureBytes(): Generator<Measurement> {
  for (const [name, mix] of Object.entries(HOLDER_MIXES)) {
    const naive = weigh(() => {
      const index = new NaivePrefixIndex();
      fill(
        ({ keys, slots }) => slots.forEach((slot) => index.insert(asBigints(keys), slot)),
        mix,
        BLOCKS,
      );
      return index;
    });
    const tree = weigh(() => createTree(mix, BLOCKS));
    yield bytes(`bytes_per_block.${name}`, tree.made.byteLength, naive.bytes);
    yield bytes(`live_bytes_per_block.${name}`, tree.bytes, naive.bytes);
    naive.made.match(new BigUint64Array(1), new Int32Array(SLOTS));
  }
}

/** Makes a thing and says what it weighs, all it references included. */
function weigh<T>(make: () => T): { readonly made: T; readonly bytes: number } {
  const before = liveBytes();
  const made = make();
  return { made, bytes: liveBytes() - before };
}

function bytes(metric: string, total: number, naive: number): Measurement {
  const value = total / BLOCKS;
  return { bench: BENCH, metric, value, unit: "B", ratio: total / naive, against: AGAINST };
}

/** The worst moment between 250,000 blocks and all: the table's segments have just split. */
function* measureGrowth(): Generator<Measurement> {
  const mix = HOLDER_MIXES.conversations;
  const tree = new PrefixTree({ bytesMax: BYTES_MAX });
  let worst = 0;
  for (const { keys, slots } of paths(mix, BLOCKS / PATH_BLOCKS)) {
    for (const slot of slots) tree.insert(keys, slot);
    if (tree.blockCount >= BLOCKS / 4) {
      worst = Math.max(worst, tree.byteLength / tree.blockCount);
    }
  }
  yield {
    bench: BENCH,
    metric: "bytes_per_block.worst_in_growth",
    value: worst,
    unit: "B",
    ratio: null,
    against: null,
  };
}

function* measureLookups(): Generator<Measurement> {
  const mix = HOLDER_MIXES.conversations;
  const tree = createTree(mix, BLOCKS);
  const naive = new NaivePrefixIndex();
  const probes: Uint32Array[] = [];
  let p = 0;
  fill(
    ({ keys, slots }) => {
      for (const slot of slots) naive.insert(asBigints(keys), slot);
      if (p++ % 13 === 0) probes.push(keys);
    },
    mix,
    BLOCKS,
  );
  const bigProbes = probes.map(asBigints);
  const out = new Int32Array(1024);
  let at = 0;
  const perWalk = nanosecondsPerCall(() => {
    at = (at + 1) % probes.length;
    tree.match(probes[at]!, out);
    sink.value += out[0]!;
  });
  const perNaiveWalk = nanosecondsPerCall(() => {
    at = (at + 1) % probes.length;
    naive.match(bigProbes[at]!, out);
    sink.value += out[0]!;
  });
  yield {
    bench: BENCH,
    metric: "ns_per_lookup_key",
    value: perWalk / PATH_BLOCKS,
    unit: "ns",
    ratio: perWalk / perNaiveWalk,
    against: AGAINST,
  };
}

export function* measurePrefixTree(): Generator<Measurement> {
  yield* measureBytes();
  yield* measureGrowth();
  yield* measureLookups();
}
