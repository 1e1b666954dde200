// What became of the requests of a run, and the figures made of it.

import type { Slo } from "./workload.ts";

/** One request that counts. Times in virtual ms, as the client sees them. */
export interface Outcome {
  readonly tenant: string;
  readonly priority: number;
  readonly sentAtMs: number;
  /** Until an endpoint was chosen for it, or until it was turned away. */
  readonly waitMs: number;
  readonly endedAtMs: number;
  /** Infinity for a request that was shed. */
  readonly ttftMs: number;
  /** (end − first token) / (tokens − 1), as inference-perf has it; 0 for answers of one token. */
  readonly tpotMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly isShed: boolean;
}

/** Everything a run gives. */
export interface RunResult {
  readonly outcomes: readonly Outcome[];
  /** Requests at the busiest endpoint by those at the mean one; their mean over time. */
  readonly imbalance: number;
  readonly virtualMs: number;
}

/** The figures of one run, or of several on different seeds. */
export interface Figures {
  readonly ttft_mean: number;
  readonly ttft_p50: number;
  readonly ttft_p90: number;
  readonly ttft_p99: number;
  readonly tpot_mean: number;
  readonly tpot_p50: number;
  readonly tpot_p90: number;
  readonly tpot_p99: number;
  /** Requests a second that were sent. */
  readonly offered: number;
  /** Requests a second answered within the SLO, over the time in which requests were sent. */
  readonly goodput: number;
  /** Tokens of all answers by the time from the first request to the last answer, drain included. */
  readonly output_tokens_s: number;
  /** Prompt tokens found in an engine's cache, of all. */
  readonly hit_rate: number;
  readonly imbalance: number;
  /** Requests shed, of all. */
  readonly shed: number;
}

export function figuresOf({ outcomes, imbalance }: RunResult, slo: Slo): Figures {
  const answered = outcomes.filter(({ isShed }) => !isShed);
  const ttft = sorted(outcomes.map(({ ttftMs }) => ttftMs / 1_000));
  const tpot = sorted(answered.map(({ tpotMs }) => tpotMs / 1_000));
  const firstMs = Math.min(...outcomes.map(({ sentAtMs }) => sentAtMs));
  const sentForMs = Math.max(...outcomes.map(({ sentAtMs }) => sentAtMs)) - firstMs;
  const lastMs = Math.max(...outcomes.map(({ endedAtMs }) => endedAtMs));
  const good = answered.filter(
    ({ ttftMs, tpotMs }) => ttftMs <= slo.ttftMs && tpotMs <= slo.tpotMs,
  ).length;
  const sum = (of: (outcome: Outcome) => number) =>
    answered.reduce((total, outcome) => total + of(outcome), 0);
  return {
    ttft_mean: mean(ttft),
    ttft_p50: quantile(ttft, 0.5),
    ttft_p90: quantile(ttft, 0.9),
    ttft_p99: quantile(ttft, 0.99),
    tpot_mean: mean(tpot),
    tpot_p50: quantile(tpot, 0.5),
    tpot_p90: quantile(tpot, 0.9),
    tpot_p99: quantile(tpot, 0.99),
    offered: outcomes.length / (sentForMs / 1_000),
    goodput: good / (sentForMs / 1_000),
    output_tokens_s: sum(({ outputTokens }) => outputTokens) / ((lastMs - firstMs) / 1_000),
    hit_rate: sum(({ cachedTokens }) => cachedTokens) / sum(({ promptTokens }) => promptTokens),
    imbalance,
    shed: 1 - answered.length / outcomes.length,
  };
}

/** The mean of each figure over runs. */
export function meanFigures(runs: readonly Figures[]): Figures {
  const names = Object.keys(runs[0]!) as (keyof Figures)[];
  const entries = names.map((name) => [name, mean(runs.map((run) => run[name]))]);
  return Object.fromEntries(entries) as Record<keyof Figures, number>;
}

/** The value below which a share of `values`, which are sorted, lie: the nearest rank. */
export function quantile(values: Float64Array, share: number): number {
  return values[Math.max(0, Math.ceil(share * values.length) - 1)] ?? NaN;
}

function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}
