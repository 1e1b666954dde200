// Figures of a part of a run's outcomes.

import { jainIndex } from "../../../src/scheduler/flow-control/flow-counts.ts";
import { type Outcome, quantile } from "../outcome.ts";

/** A token of an answer counts as many of a prompt, as fairness policies have it by default. */
const OUTPUT_WEIGHT = 2;

/** Seconds; Infinity where that many were turned away. */
export function ttftS(outcomes: readonly Outcome[], share: number): number {
  const values = Float64Array.from(outcomes, ({ ttftMs }) => ttftMs).sort();
  return quantile(values, share) / 1_000;
}

export function hitRate(outcomes: readonly Outcome[]): number {
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((all, one) => all + of(one), 0);
  return sum(({ cachedTokens }) => cachedTokens) / sum(({ promptTokens }) => promptTokens);
}

/** Tokens of answers a second, of requests that ended in the window. */
export function tokensPerS(outcomes: readonly Outcome[], fromMs: number, untilMs: number): number {
  let tokens = 0;
  for (const { endedAtMs, outputTokens } of outcomes)
    if (endedAtMs >= fromMs && endedAtMs < untilMs) tokens += outputTokens;
  return (1_000 * tokens) / (untilMs - fromMs);
}

/** Of weighted tokens by tenant, of requests that ended in the window. */
export function jainOfTenants(
  outcomes: readonly Outcome[],
  fromMs: number,
  untilMs: number,
): number {
  const served = new Map<string, number>();
  for (const { tenant, endedAtMs, promptTokens, cachedTokens, outputTokens } of outcomes) {
    const isIn = endedAtMs >= fromMs && endedAtMs < untilMs;
    const tokens = isIn ? promptTokens - cachedTokens + OUTPUT_WEIGHT * outputTokens : 0;
    served.set(tenant, (served.get(tenant) ?? 0) + tokens);
  }
  return jainIndex([...served.values()]);
}
