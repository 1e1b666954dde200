// What the objects of one pool say of it, as one summary.
//
//   who is there      as who has heard of its collectors last; every object hears of all endpoints
//   how full, waits   means: a request goes to one of the objects, by its prompt
//   what there is     requests, tokens and ends added up, each object having its own
//
// An object that has not been heard of for PART_LIVES_MS counts as one like the others, so that a pool does
// not seem less busy for it; while none has been heard of, the last words of all count, as old as they are.

import {
  type LoadSignal,
  type MembershipSignal,
  type PoolSummary,
  type SpeedSignal,
  SUMMARY_INTERVAL_MS,
} from "./summary.ts";

const PART_LIVES_MS = 3 * SUMMARY_INTERVAL_MS;

/** One object's word, and for how long whoever merges has had it. */
export interface SummaryPart {
  readonly summary: PoolSummary;
  readonly heldMs: number;
}

/** What only whoever merges can say. */
export type MergedFacts = Pick<PoolSummary, "incarnation" | "seq" | "digestVersion"> & {
  /** Of objects that the pool has. */
  readonly count: number;
};

/** `parts`: at least one, of the same pool. */
export function mergeSummaries(parts: readonly SummaryPart[], facts: MergedFacts): PoolSummary {
  const live = parts.filter(({ heldMs }) => heldMs < PART_LIVES_MS);
  const of = live.length > 0 ? live : parts;
  const scale = facts.count / of.length;
  const membership = youngest(aged(of, ({ summary }) => summary.membership));
  const load = mergeLoads(
    aged(of, ({ summary }) => summary.load),
    facts.count,
  );
  const speed = mergeSpeeds(
    of.flatMap(({ summary }) => summary.speed ?? []),
    scale,
  );
  const { incarnation, seq, digestVersion } = facts;
  return {
    pool: parts[0]!.summary.pool,
    incarnation,
    seq,
    configVersion: Math.min(...of.map(({ summary }) => summary.configVersion)),
    ...(membership === undefined ? {} : { membership }),
    ...(load === undefined ? {} : { load }),
    ...(speed === undefined ? {} : { speed }),
    ...(digestVersion === undefined ? {} : { digestVersion }),
  };
}

function mergeLoads(loads: readonly LoadSignal[], count: number): LoadSignal | undefined {
  const last = youngest(loads);
  if (last === undefined) return undefined;
  const scale = count / loads.length;
  const total = (value: (load: LoadSignal) => number) => scale * sum(loads, value);
  return {
    // What the engines say of themselves, and how old it is.
    ...last,
    saturation: mean(loads.map(({ saturation }) => saturation)),
    waitMs: mean(loads.map(({ waitMs }) => waitMs)),
    queued: Math.round(total(({ queued }) => queued)),
    inFlightRequests: Math.round(total(({ inFlightRequests }) => inFlightRequests)),
    inFlightTokens: Math.round(total(({ inFlightTokens }) => inFlightTokens)),
    // Each object knows of the others' prefill as well.
    pendingPrefillTokens: mean(loads.map(({ pendingPrefillTokens }) => pendingPrefillTokens)),
  };
}

function mergeSpeeds(speeds: readonly SpeedSignal[], scale: number): SpeedSignal | undefined {
  if (speeds.length === 0) return undefined;
  const prefills = speeds.flatMap(({ prefillMsPerToken }) => prefillMsPerToken ?? []);
  const services = speeds.flatMap(({ serviceMs }) => serviceMs ?? []);
  return {
    ...(prefills.length === 0 ? {} : { prefillMsPerToken: mean(prefills) }),
    ...(services.length === 0 ? {} : { serviceMs: mean(services) }),
    endedPerSecond: scale * sum(speeds, ({ endedPerSecond }) => endedPerSecond),
  };
}

/** Each part's signal, as old as it is by now. */
function aged<Signal extends MembershipSignal | LoadSignal>(
  parts: readonly SummaryPart[],
  signalOf: (part: SummaryPart) => Signal | undefined,
): Signal[] {
  return parts.flatMap((part) => {
    const signal = signalOf(part);
    return signal === undefined ? [] : { ...signal, ageMs: signal.ageMs + part.heldMs };
  });
}

function youngest<Signal extends { readonly ageMs: number }>(
  signals: readonly Signal[],
): Signal | undefined {
  const [first, ...rest] = signals;
  if (first === undefined) return undefined;
  return rest.reduce((best, each) => (each.ageMs < best.ageMs ? each : best), first);
}

function mean(values: readonly number[]): number {
  return sum(values, (value) => value) / values.length;
}

function sum<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
