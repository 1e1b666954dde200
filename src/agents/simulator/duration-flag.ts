// Flags that hold a duration, as `250us`, `1.5s` or plain milliseconds.

import type { Flag } from "../process/flags.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 0.000_001,
  us: 0.001,
  µs: 0.001,
  ms: 1,
  s: 1_000,
  m: 60_000,
};
const DURATION_MS_MAX = 3_600_000;

/** Parses `250us`, `1.5s` or plain milliseconds. Undefined if it is none, or above an hour. */
function parseDurationMs(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m)?$/.exec(text);
  if (match === null) return undefined;
  const valueMs = Number(match[1]) * UNIT_MS[match[2] ?? "ms"]!;
  return valueMs <= DURATION_MS_MAX ? valueMs : undefined;
}

export function durationFlag(help: string, fallbackMs: number): Flag<number> {
  return {
    placeholder: "DURATION",
    help,
    fallback: fallbackMs,
    parse(text) {
      const value = parseDurationMs(text);
      return value === undefined
        ? { ok: false, expected: "a duration up to an hour, e.g. 250us, 12ms or 1.5s" }
        : { ok: true, value };
    },
  };
}
