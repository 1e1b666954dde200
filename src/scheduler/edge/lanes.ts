// Which endpoints each isolate sends first what could go anywhere, so that isolates do not meet there.
//
//   isolates that have asked within LANE_MS, in the order of their seeds    0   1   2   …   count − 1
//   endpoints of lane i                                                     every count-th, from the i-th
//
// An isolate knows at once what it has sent itself, and of others only what the last snapshot shows. On its own
// lane it meets nobody but requests that had to go there, for what they find cached. Nothing depends on
// lanes being exact: when isolates come and go, lanes overlap until each has a newer snapshot.

import type { EdgeLane } from "./contracts.ts";

/** An isolate that has not asked for so long has no lane. */
export const LANE_MS = 5_000;
/** Isolates with lanes. There are no more endpoints to tell them apart by. */
export const LANES_MAX = 1_024;
/** Between two looks at who has left. */
const SWEEP_MS = 500;

export class Lanes {
  /** Unix ms at which each was heard of last, by seed. */
  readonly #heardAtMs = new Map<number, number>();
  /** Ascending; undefined after a change. */
  #seeds: number[] | undefined;
  #sweptAtMs = -Infinity;

  /** Of the isolate with this seed, which asks now. Undefined where too many have one. O(log isolates), mostly. */
  of(seed: number, nowMs: number): EdgeLane | undefined {
    if (nowMs - this.#sweptAtMs >= SWEEP_MS) this.#sweep(nowMs);
    if (!this.#heardAtMs.has(seed)) {
      if (this.#heardAtMs.size >= LANES_MAX) return undefined;
      this.#seeds = undefined;
    }
    this.#heardAtMs.set(seed, nowMs);
    this.#seeds ??= [...this.#heardAtMs.keys()].sort((one, other) => one - other);
    return { index: indexIn(this.#seeds, seed), count: this.#seeds.length };
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [seed, heardAtMs] of this.#heardAtMs) {
      if (nowMs - heardAtMs < LANE_MS) continue;
      this.#heardAtMs.delete(seed);
      this.#seeds = undefined;
    }
  }
}

/** `seeds` ascend, and hold it. */
function indexIn(seeds: readonly number[], seed: number): number {
  let first = 0;
  let past = seeds.length;
  while (first < past) {
    const middle = (first + past) >>> 1;
    if (seeds[middle]! < seed) first = middle + 1;
    else past = middle;
  }
  return first;
}
