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
  /** Of each body. */
  readonly rounds: number;
  /** A body is repeated until one round takes at least this long. */
  readonly roundMsMin: number;
}

export const TIMING: Timing = { rounds: 15, roundMsMin: 30 };

/** What is timed. One that waits is called again when it has ended. */
type Body = () => void | Promise<void>;

/**
 * Calls each of `bodies` until its code is optimised, then times them in turn, round by round, so
 * that other work on the machine meets them all. Nanoseconds a call in each one's fastest round: the
 * one that was disturbed least.
 */
export async function nanosecondsEach<Name extends string>(
  bodies: Readonly<Record<Name, Body>>,
  timing: Timing,
): Promise<Record<Name, number>> {
  const timed: { name: Name; body: Body; calls: number; fastestMs: number }[] = [];
  for (const name of Object.keys(bodies) as Name[]) {
    const body = bodies[name];
    let calls = 1;
    while ((await timeMs(body, calls)) < timing.roundMsMin) calls *= 2;
    timed.push({ name, body, calls, fastestMs: Infinity });
  }
  for (let round = 0; round < timing.rounds; round++) {
    for (const each of timed) {
      each.fastestMs = Math.min(each.fastestMs, await timeMs(each.body, each.calls));
    }
  }
  const entries = timed.map(({ name, calls, fastestMs }) => [name, (fastestMs / calls) * 1e6]);
  return Object.fromEntries(entries) as Record<Name, number>;
}

/** CPU time of so many calls of `body`. */
export async function timeMs(body: Body, calls: number): Promise<number> {
  const startedMs = threadCpuMs();
  for (let i = 0; i < calls; i++) {
    const ended = body();
    // Waiting for nothing would cost a turn of the microtask queue.
    if (ended !== undefined) await ended;
  }
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
export function quantile(values: readonly number[], at: number): number {
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
