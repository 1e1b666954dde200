// What every benchmark shares: repeating, timing, weighing and printing.
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
  /** `value` divided by the naive implementation's; null where there is none. */
  readonly ratio: number | null;
  /** What `ratio` compares with. */
  readonly against: string | null;
}

/** Timed rounds. */
const ROUNDS = 9;
/** A body is repeated until one round takes at least this long. */
const ROUND_MS_MIN = 30;

/**
 * Calls `body` until its code is optimised, then times it. Nanoseconds a call in the fastest round:
 * the one that other work on the machine disturbed least.
 */
export function nanosecondsPerCall(body: () => void): number {
  let calls = 1;
  for (; ; calls *= 2) {
    if (timeMs(body, calls) >= ROUND_MS_MIN) break;
  }
  const rounds = Array.from({ length: ROUNDS }, () => timeMs(body, calls));
  return (Math.min(...rounds) / calls) * 1e6;
}

/** CPU time of this thread: waiting for a core that others use does not count. */
function timeMs(body: () => void, calls: number): number {
  const started = process.threadCpuUsage();
  for (let i = 0; i < calls; i++) body();
  const { user, system } = process.threadCpuUsage(started);
  return (user + system) / 1e3;
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

/** Prints figures as JSON lines or as a table. */
export async function print(
  measurements: Iterable<Measurement> | AsyncIterable<Measurement>,
  isJson: boolean,
): Promise<void> {
  for await (const measurement of measurements) {
    console.log(isJson ? JSON.stringify(measurement) : tableRow(measurement));
  }
}

function tableRow({ bench, metric, value, unit, ratio, against }: Measurement): string {
  const figure = `${value.toPrecision(4)} ${unit}`;
  const compared = ratio === null ? "" : `${ratio.toPrecision(3)} × ${against}`;
  return `${bench.padEnd(15)} ${metric.padEnd(34)} ${figure.padStart(18)}   ${compared}`.trimEnd();
}
