// What flows owe each other, in a form that outlives the memory it is kept in.

import { type Bands, FLOW_IDLE_MS } from "./bands.ts";
import type { PriorityBand } from "./priority-band.ts";

/** Of all bands; the largest are kept. */
export const DEBTS_MAX = 1_000;

/** By how much a flow is ahead of the one served least of its band. */
export interface FlowDebt {
  readonly priority: number;
  readonly fairnessId: string;
  /** By the flow's weight. */
  readonly tokens: number;
}

/** The largest first. Empty for policies that keep no such count. */
export function debtsOf(bands: Bands): FlowDebt[] {
  const debts = bands.descending.flatMap(({ priority, fairness }) =>
    Array.from(fairness.debts?.() ?? [], ([fairnessId, tokens]) => ({
      priority,
      fairnessId,
      tokens,
    })),
  );
  return debts.sort((a, b) => b.tokens - a.tokens).slice(0, DEBTS_MAX);
}

/** They are held against their flows when these first wait, if they do so before FLOW_IDLE_MS. */
export function restoreDebts(bands: Bands, debts: readonly FlowDebt[], nowMs: number): void {
  const owedIn = new Map<PriorityBand, Map<string, number>>();
  for (const { priority, fairnessId, tokens } of debts.slice(0, DEBTS_MAX)) {
    const band = bands.bandOf(priority, nowMs);
    if (!owedIn.has(band)) owedIn.set(band, new Map());
    owedIn.get(band)!.set(fairnessId, tokens);
  }
  for (const [band, owed] of owedIn) band.restore(owed, nowMs + FLOW_IDLE_MS);
}
