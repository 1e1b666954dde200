// How policies compare over workloads: geometric means of ratios to ours, on the same seeds.

import type { Row } from "./report.ts";

const OURS = "ours";
/** Every policy is told apart from here on; below, all do well. */
export const LOAD_MIN = 0.8;
/** Knows what no router can. */
const ORACLE = "oracle";
/** Goodput counts as at least this share of what was asked for, so that ratios have a bound. */
const GOODPUT_SHARE_MIN = 0.01;

/** Above 1: ours is that many times better. */
export interface Comparison {
  readonly policy: string;
  /** Name of a workload, or "" for the geometric mean over all. */
  readonly workload: string;
  readonly ttftP90: number;
  readonly goodput: number;
}

/** Ours against each policy, by workload, from the rows at LOAD_MIN and above; none without ours. */
export function compare(rows: readonly Row[]): Comparison[] {
  const loaded = rows.filter(({ load }) => load >= LOAD_MIN - 1e-9);
  const policies = [...new Set(loaded.map(({ policy }) => policy))];
  const workloads = [...new Set(loaded.map(({ workload }) => workload))];
  return policies
    .filter((policy) => policy !== OURS)
    .flatMap((policy) => {
      const each = workloads.flatMap((workload) => {
        const compared = compareOn(loaded, workload, policy);
        return compared === undefined ? [] : [compared];
      });
      if (each.length === 0) return [];
      const ttftP90 = geometricMean(each.map((one) => one.ttftP90));
      const goodput = geometricMean(each.map((one) => one.goodput));
      return [{ policy, workload: "", ttftP90, goodput }, ...each];
    });
}

/** By workload: how ours does beside the best policy that is no oracle. Below 1: worse. */
export function againstBest(comparisons: readonly Comparison[]): Comparison[] {
  const baselines = comparisons.filter(
    ({ policy, workload }) => policy !== ORACLE && workload !== "",
  );
  const workloads = [...new Set(baselines.map(({ workload }) => workload))];
  return workloads.flatMap((name) => {
    const on = baselines.filter(({ workload }) => workload === name);
    const byTtft = on.reduce((best, one) => (one.ttftP90 < best.ttftP90 ? one : best));
    const byGoodput = on.reduce((best, one) => (one.goodput < best.goodput ? one : best));
    return [byTtft, byGoodput];
  });
}

function compareOn(rows: readonly Row[], workload: string, policy: string): Comparison | undefined {
  const of = (name: string) =>
    rows.filter((row) => row.workload === workload && row.policy === name);
  const theirs = of(policy);
  const pairs = of(OURS).flatMap((ours) => {
    const their = theirs.find(({ rate }) => rate === ours.rate);
    return their === undefined ? [] : [{ ours, their }];
  });
  if (pairs.length === 0) return undefined;
  return {
    policy,
    workload,
    ttftP90: geometricMean(pairs.map(({ ours, their }) => their.ttft_p90 / ours.ttft_p90)),
    goodput: geometricMean(pairs.map(({ ours, their }) => good(ours) / good(their))),
  };
}

function good({ goodput, rate }: Row): number {
  return Math.max(goodput, GOODPUT_SHARE_MIN * rate);
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
