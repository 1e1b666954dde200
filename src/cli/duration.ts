// Lengths of time on a command line.

import { UsageError } from "./cli-error.ts";

const UNIT_SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;
const SECONDS_MAX = 30 * UNIT_SECONDS.d;

/** Seconds of `90s`, `15m`, `1h` or `2d`: the value of `--name`. */
export function durationFlag(name: string, text: string): number {
  const [, digits, unit] = /^([0-9]{1,7})([smhd])$/.exec(text) ?? [];
  const seconds = Number(digits) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
  if (!(seconds >= 1 && seconds <= SECONDS_MAX))
    throw new UsageError(`--${name} takes a time such as 90s, 15m, 1h or 2d, at most 30d.`);
  return seconds;
}

/** e.g. `90 s`, `12 min`, `3.5 h`. */
export function describeSeconds(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3_600).toFixed(1)} h`;
}
