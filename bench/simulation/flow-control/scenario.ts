// What a scenario of flow control gives: a table, and perhaps a plot over time.

import type { Outcome } from "../outcome.ts";

export interface Scenario {
  readonly title: string;
  /** What is sent, and what the columns are. */
  readonly about: string;
  readonly heads: readonly string[];
  /** Runs everything; `onRow` is told as rows come. */
  run(onRow: (row: readonly string[]) => void): ScenarioResult;
}

export interface ScenarioResult {
  readonly rows: readonly (readonly string[])[];
  readonly plot?: { readonly file: string; readonly title: string; readonly svg: string };
}

/** The first requests come then; see simulation.ts. */
export const SENT_FROM_MS = 1_000;

/** Outcomes of requests that were sent in the window, from the beginning of the run. */
export function sentIn(
  outcomes: readonly Outcome[],
  fromMs: number,
  untilMs: number,
): readonly Outcome[] {
  return outcomes.filter(({ sentAtMs }) => {
    const atMs = sentAtMs - SENT_FROM_MS;
    return atMs >= fromMs && atMs < untilMs;
  });
}

export const seconds = (value: number): string =>
  Number.isFinite(value) ? `${Number(value.toPrecision(2))} s` : "none";
export const percent = (share: number): string => `${Math.round(100 * share)}%`;
