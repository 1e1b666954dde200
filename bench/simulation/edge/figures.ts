// Figures of a run at the edge.

import { type Figures, figuresOf } from "../outcome.ts";
import type { Slo } from "../workload.ts";
import type { EdgeOutcome, EdgeResult } from "./run.ts";

export interface EdgeFigures extends Figures {
  /** Requests decided by isolates alone, of all: those that an object was asked about meanwhile are not among them. */
  readonly local: number;
  /** Of all requests, by the reason for where they were decided. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Of those that an object was asked about meanwhile, the ones that it had sent elsewhere. */
  readonly calledOffShare: number;
  /** Prompt tokens found in caches by those that whoever held most of each prompt had. */
  readonly found: number;
  /** Decisions of the busiest object by their mean. */
  readonly shardImbalance: number;
  readonly splitChanges: number;
  /** Bytes a second and object, from isolates and to them. */
  readonly commitBytes: number;
  readonly snapshotBytes: number;
  /** Calls a second and object that are on no request's way. */
  readonly syncs: number;
  /** Requests in flight over all endpoints' bounds together, at most; and credit outstanding then. */
  readonly overshoot: number;
  readonly outstanding: number;
  /** Moments at which endpoints were over their bounds by more than what had been granted. */
  readonly violations: number;
}

export function edgeFiguresOf(result: EdgeResult, slo: Slo): EdgeFigures {
  const { outcomes, bytes, virtualMs, shardLoads, splitChanges, bounds } = result;
  const perObjectS = (virtualMs / 1_000) * shardLoads.length;
  const sum = (of: (outcome: EdgeOutcome) => number) =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const loadMean = shardLoads.reduce((total, load) => total + load, 0) / shardLoads.length;
  return {
    ...figuresOf({ outcomes, imbalance: 0, virtualMs }, slo),
    local: sum(({ isLocal }) => Number(isLocal)) / outcomes.length,
    reasons: sharesOf(outcomes.map(({ reason }) => reason)),
    calledOffShare: result.calledOffShare,
    found: sum(({ cachedTokens }) => cachedTokens) / sum(({ bestTokens }) => bestTokens),
    shardImbalance: Math.max(...shardLoads) / Math.max(1e-9, loadMean),
    splitChanges,
    commitBytes: bytes.commits / perObjectS,
    snapshotBytes: bytes.snapshots / perObjectS,
    syncs: bytes.syncCount / perObjectS,
    ...bounds,
  };
}

function sharesOf(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries([...counts].map(([name, count]) => [name, count / names.length]));
}

/** The mean of each figure over runs; of what must not be exceeded the most. */
export function meanEdgeFigures(runs: readonly EdgeFigures[]): EdgeFigures {
  const mean = (values: readonly number[]) =>
    values.reduce((total, value) => total + value, 0) / values.length;
  const { reasons: _, ...numbers } = runs[0]!;
  const names = Object.keys(numbers) as (keyof typeof numbers)[];
  const means = names.map((name) => [name, mean(runs.map((run) => run[name]))]);
  const reasons = [...new Set(runs.flatMap((run) => Object.keys(run.reasons)))];
  return {
    ...(Object.fromEntries(means) as typeof numbers),
    reasons: Object.fromEntries(
      reasons.map((reason) => [reason, mean(runs.map((run) => run.reasons[reason] ?? 0))]),
    ),
    overshoot: Math.max(...runs.map(({ overshoot }) => overshoot)),
    outstanding: Math.max(...runs.map(({ outstanding }) => outstanding)),
    violations: runs.reduce((total, { violations }) => total + violations, 0),
  };
}
