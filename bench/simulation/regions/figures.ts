// Figures of a run over regions.

import { type Figures, figuresOf } from "../outcome.ts";
import type { Slo } from "../workload.ts";
import type { RegionalOutcome } from "./simulation.ts";

export interface RegionalFigures extends Figures {
  /** Requests served in another region than their own, of those served. */
  readonly cross: number;
  /** Of requests that follow another of their session, those served by another pool than that one. */
  readonly moved: number;
  /** Times that a session changed its pool, in any minute at most. */
  readonly switches: number;
  /** Requests that were tried at more than one pool, of all. */
  readonly retried: number;
  /** Requests whose answer broke off, of all. */
  readonly broken: number;
}

const MINUTE_MS = 60_000;

export function regionalFiguresOf(outcomes: readonly RegionalOutcome[], slo: Slo): RegionalFigures {
  const served = outcomes.filter(({ isShed }) => !isShed);
  const share = (some: readonly unknown[], of: readonly unknown[]) =>
    some.length / Math.max(1, of.length);
  const sessions = Map.groupBy(served, ({ sessionIndex }) => sessionIndex);
  let followed = 0;
  let moves = 0;
  let switches = 0;
  for (const session of sessions.values()) {
    const inOrder = session.toSorted((a, b) => a.sentAtMs - b.sentAtMs);
    const movedAtMs: number[] = [];
    for (let i = 1; i < inOrder.length; i++)
      if (inOrder[i]!.pool !== inOrder[i - 1]!.pool) movedAtMs.push(inOrder[i]!.sentAtMs);
    followed += inOrder.length - 1;
    moves += movedAtMs.length;
    switches = Math.max(switches, mostInAMinute(movedAtMs));
  }
  return {
    ...figuresOf({ outcomes, imbalance: 0, virtualMs: 0 }, slo),
    cross: share(
      served.filter(({ pool, region }) => pool !== region),
      served,
    ),
    moved: moves / Math.max(1, followed),
    switches,
    broken: share(
      outcomes.filter(({ isBroken }) => isBroken),
      outcomes,
    ),
    retried: share(
      outcomes.filter(({ refusals }) => refusals > 0),
      outcomes,
    ),
  };
}

/** `timesMs` ascend. */
function mostInAMinute(timesMs: readonly number[]): number {
  let most = 0;
  let first = 0;
  timesMs.forEach((atMs, i) => {
    while (atMs - timesMs[first]! >= MINUTE_MS) first++;
    most = Math.max(most, i - first + 1);
  });
  return most;
}

/** The mean of each figure over runs; of switches the most. */
export function meanRegionalFigures(runs: readonly RegionalFigures[]): RegionalFigures {
  const names = Object.keys(runs[0]!) as (keyof RegionalFigures)[];
  const entries = names.map((name) => [
    name,
    runs.reduce((sum, run) => sum + run[name], 0) / runs.length,
  ]);
  const means = Object.fromEntries(entries) as Record<keyof RegionalFigures, number>;
  return { ...means, switches: Math.max(...runs.map(({ switches }) => switches)) };
}
