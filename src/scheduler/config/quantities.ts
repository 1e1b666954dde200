// Quantities and durations as Kubernetes and Go write them.
//
// Source: k8s.io/apimachinery pkg/api/resource (Quantity.Value rounds up), Go time.ParseDuration.

/** Longer texts are not looked at. */
const TEXT_CHARS_MAX = 64;

const QUANTITY = /^([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?$/;
const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The whole number in e.g. `1G`, `512Mi` or `5000`; undefined for what is no quantity. */
export function parseQuantity(value: string | number): number | undefined {
  const text = String(value);
  const match = text.length > TEXT_CHARS_MAX ? null : QUANTITY.exec(text);
  if (match === null) return undefined;
  const [, sign, digits, exponent, suffix] = match;
  const factor = suffix === undefined ? 1 : SUFFIXES[suffix]!;
  const amount = Math.ceil(Number(`${digits}${exponent ?? ""}`) * factor);
  // Not -0, and no fraction that a double makes of a whole number.
  return amount === 0 ? 0 : sign === "-" ? -amount : amount;
}

const DURATION = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
const DURATION_PART = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;
const UNIT_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3_600e9,
};
const NS_PER_MS = 1e6;
/** int64, 292 years: Go has no longer durations. */
const NS_MAX = 2 ** 63;
/** 13 days. What is longer is rounded to milliseconds, so that a double says exactly what it is. */
const EXACT_NS_MAX = 2 ** 50;

/** Milliseconds of e.g. `60s`, `1m30s` or `0`, in whole nanoseconds; undefined for what is no duration. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0" || text === "+0" || text === "-0") return 0;
  if (text.length > TEXT_CHARS_MAX) return undefined;
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  let ns = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART))
    ns += Number(amount) * UNIT_NS[unit!]!;
  if (ns >= NS_MAX) return undefined;
  const ms = ns < EXACT_NS_MAX ? Math.round(ns) / NS_PER_MS : Math.round(ns / NS_PER_MS);
  // Not -0, which JSON does not have.
  return ms === 0 || match[1] !== "-" ? ms : -ms;
}

/** The same duration as a whole number of one unit: `60s`, `200ms`, `250000ns`. */
export function formatDuration(ms: number): string {
  if (!Number.isInteger(ms)) return `${Math.round(ms * NS_PER_MS)}ns`;
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}
