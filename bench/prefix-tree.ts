// PrefixTree against a Map of Sets: bytes a block, and time a key looked up.

import { PrefixTree } from "../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../src/scheduler/model/endpoint-table.ts";
import { createRng, type Rng } from "../src/scheduler/support/rng.ts";
import {
  liveBytes,
  type Measurement,
  nanosecondsEach,
  sink,
  type Timing,
  TIMING,
} from "./measure.ts";
import { asBigints, NaivePrefixIndex } from "./naive-prefix-index.ts";

export const PREFIX_TREE_NAME = "prefix-tree";
const AGAINST = "Map<bigint, Set>";
const BLOCKS = 1_000_000;
const PATH_BLOCKS = 100;
const SLOTS = 64;
const SPREAD_STRIDE = 7_919;
const PROBE_STRIDE = 13;
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

function fill(insert: (path: Path) => void, mix: HolderMix, blocks: number): void {
  for (const path of paths(mix, blocks / PATH_BLOCKS)) insert(path);
}

/** Bytes a block at the worst moment between a quarter of the blocks and all. */
function worstInGrowth(mix: HolderMix, blocks: number): number {
  const tree = new PrefixTree({ bytesMax: BYTES_MAX });
  let worst = 0;
  for (const { keys, slots } of paths(mix, blocks / PATH_BLOCKS)) {
    for (const slot of slots) tree.insert(keys, slot);
    if (tree.blockCount < blocks / 4) continue;
    worst = Math.max(worst, tree.byteLength / tree.blockCount);
  }
  requireWhole(tree);
  return worst;
}

function createTree(mix: HolderMix, blocks: number): PrefixTree {
  const tree = new PrefixTree({ bytesMax: BYTES_MAX });
  fill(({ keys, slots }) => slots.forEach((slot) => tree.insert(keys, slot)), mix, blocks);
  requireWhole(tree);
  return tree;
}

function createNaive(mix: HolderMix, blocks: number): NaivePrefixIndex {
  const index = new NaivePrefixIndex();
  fill(
    ({ keys, slots }) => slots.forEach((slot) => index.insert(asBigints(keys), slot)),
    mix,
    blocks,
  );
  return index;
}

function requireWhole(tree: PrefixTree): void {
  if (tree.leftOut === 0 && tree.evicted.bytes === 0) return;
  throw new Error(`left out ${tree.leftOut}, evicted ${tree.evicted.bytes}: not a fair figure`);
}

/** The naive index has no count of its own; it is weighed in the process, when it is full. */
function* measureBytes(blocks: number): Generator<Measurement> {
  const naive = weigh(() => createNaive(HOLDER_MIXES.conversations, blocks)).bytes;
  const figure = (metric: string, value: number): Measurement => ({
    bench: PREFIX_TREE_NAME,
    metric,
    value,
    unit: "B",
    ratio: value / (naive / blocks),
    against: AGAINST,
  });
  yield figure("bytes_per_block", worstInGrowth(HOLDER_MIXES.conversations, blocks));
  yield figure("bytes_per_block_adverse", worstInGrowth(HOLDER_MIXES.adverse, blocks));
  const live = weigh(() => createTree(HOLDER_MIXES.conversations, blocks));
  yield figure("live_bytes_per_block", live.bytes / blocks);
  // Until here it must not be collected.
  sink.value += live.made.blockCount;
}

/** Makes a thing and says what it weighs, all it references included. */
function weigh<T>(make: () => T): { readonly made: T; readonly bytes: number } {
  const before = liveBytes();
  const made = make();
  return { made, bytes: liveBytes() - before };
}

/** Paths spread over all that are held, so that a look-up finds little in the processor's cache. */
async function* measureLookups(blocks: number, timing: Timing): AsyncGenerator<Measurement> {
  const mix = HOLDER_MIXES.conversations;
  const tree = createTree(mix, blocks);
  const naive = createNaive(mix, blocks);
  const probes = [...paths(mix, blocks / PATH_BLOCKS)]
    .filter((_, p) => p % PROBE_STRIDE === 0)
    .map(({ keys }) => keys);
  const bigProbes = probes.map(asBigints);
  const out = new Int32Array(ENDPOINTS_MAX);
  let at = 0;
  const next = () => (at = (at + 1) % probes.length);
  const perWalk = await nanosecondsEach(
    {
      tree() {
        tree.match(probes[next()]!, out);
        sink.value += out[0]!;
      },
      naive() {
        naive.match(bigProbes[next()]!, out);
        sink.value += out[0]!;
      },
    },
    timing,
  );
  yield {
    bench: PREFIX_TREE_NAME,
    metric: "ns_per_lookup_key",
    value: perWalk.tree / PATH_BLOCKS,
    unit: "ns",
    ratio: perWalk.tree / perWalk.naive,
    against: AGAINST,
  };
}

/**
 * `bytes_per_block` is the tree's own count, growth included: just after a segment has split, a tree
 * is largest for what it holds.
 */
export async function* measurePrefixTree(
  blocks = BLOCKS,
  timing = TIMING,
): AsyncGenerator<Measurement> {
  yield* measureBytes(blocks);
  yield* measureLookups(blocks, timing);
}
