// Blocks by number, and what a ResidentIndex says of paths of them.

import {
  type HeldBlocks,
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
} from "../../../src/scheduler/kv/residency/holding.ts";
import type { ResidentIndex } from "../../../src/scheduler/kv/resident-index.ts";

const SLOTS = 1024;
const keyOf = (n: number) => ({
  low: Math.imul(n + 1, 0x9e37_79b1) >>> 0,
  high: Math.imul(n + 7, 0x85eb_ca6b) >>> 0,
});
export const pathOf = (labels: readonly number[]) =>
  Uint32Array.from(labels.flatMap((label) => [keyOf(label).low, keyOf(label).high]));

/** Of one block. */
export function hold(index: ResidentIndex, lane: number, label: number, holding: Holding): void {
  index.hold(lane, blocksOf([label], holding));
}

/** Blocks that are all held so. */
export function blocksOf(labels: readonly number[], holding: Holding): HeldBlocks {
  return {
    keys: pathOf(labels),
    onGpuCount: holding === HELD_ON_GPU ? labels.length : 0,
    belowCount: holding === HELD_BELOW ? labels.length : 0,
  };
}

/** By slot, what lanes answer to a path. */
export function matchOf(index: ResidentIndex, labels: readonly number[]) {
  const matched = new Int32Array(SLOTS).fill(-1);
  const onGpu = new Int32Array(SLOTS).fill(-1);
  index.match(pathOf(labels), matched, onGpu);
  return { matched, onGpu };
}
