// What every benchmark shares: repeating, timing and weighing.
//
// Machines differ and this one is shared, so a figure is best read as its ratio to a naive
// implementation measured in the same run.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** One figure. */
export interface Measurement {
  readonly bench: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  /** `value` divided by that of `against`; null for a difference, or where nothing is compared. */
  readonly ratio: number | null;
  /** What `value` is set against. */
  readonly against: string | null;
}

/** How long pure code is timed. */
export interface Timing {
  readonly rounds: number;
  /** A body is repeated until one round takes at least this long. */
  readonly roundMsMin: number;
}

export const TIMING: Timing = { rounds: 9, roundMsMin: 30 };

/**
 * Calls `body` until its code is optimised, then times it. Nanoseconds a call in the fastest round:
 * the one that other work on the machine disturbed least.
 */
export function nanosecondsPerCall(body: () => void, timing: Timing): number {
  let calls = 1;
  while (timeMs(body, calls) < timing.roundMsMin) calls *= 2;
  const rounds = Array.from({ length: timing.rounds }, () => timeMs(body, calls));
  return (Math.min(...rounds) / calls) * 1e6;
}

/** The same of a body that waits, one call after another. */
export async function nanosecondsPerAsyncCall(
  body: () => Promise<void>,
  timing: Timing,
): Promise<number> {
  let calls = 1;
  while ((await timeAsyncMs(body, calls)) < timing.roundMsMin) calls *= 2;
  const rounds: number[] = [];
  while (rounds.length < timing.rounds) rounds.push(await timeAsyncMs(body, calls));
  return (Math.min(...rounds) / calls) * 1e6;
}

function timeMs(body: () => void, calls: number): number {
  const startedMs = threadCpuMs();
  for (let i = 0; i < calls; i++) body();
  return threadCpuMs() - startedMs;
}

async function timeAsyncMs(body: () => Promise<void>, calls: number): Promise<number> {
  const startedMs = threadCpuMs();
  for (let i = 0; i < calls; i++) await body();
  return threadCpuMs() - startedMs;
}

/** CPU time of this thread: waiting for a core that others use does not count. */
function threadCpuMs(): number {
  // Linux brings a running thread's account up to date only at a timer tick, every 4 ms, unless the
  // whole process is asked for.
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e3;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** From the first quartile to the third: half of the values lie within. */
export function quartileRange(values: readonly number[]): number {
  return quantile(values, 0.75) - quantile(values, 0.25);
}

/** Between two values it is interpolated. */
function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * at;
  const below = sorted[Math.floor(place)]!;
  return below + (sorted[Math.ceil(place)]! - below) * (place % 1);
}

/** Bytes of live heap and buffers, after a full collection. */
export function liveBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Keeps results alive, so that no measured work can be optimised away. */
export const sink = { value: 0 };
