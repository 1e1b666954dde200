// What filters do with the candidates: compact them in place.

import type { Labels } from "./labels.ts";
import type { PickContext } from "./plugin.ts";

/** Whether a filter keeps `slot`. Made at most once a decision. */
export type Keeps = (context: PickContext, slot: number) => boolean;

/**
 * Compacts the candidates to those that `keeps` is true for, in their order, and returns how many are
 * left. Where that is 0 nothing has been written: the caller may return `candidateCount` to keep all.
 */
export function keepCandidates(context: PickContext, keeps: Keeps): number {
  const { candidates, candidateCount } = context;
  let kept = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (keeps(context, slot)) candidates[kept++] = slot;
  }
  return kept;
}

/** The same, but all are kept where none would be. */
export function keepCandidatesOrAll(context: PickContext, keeps: Keeps): number {
  const kept = keepCandidates(context, keeps);
  return kept === 0 ? context.candidateCount : kept;
}

/** Whether `slot` is among the candidates. O(candidates). */
export function isCandidate({ candidates, candidateCount }: PickContext, slot: number): boolean {
  const at = candidates.indexOf(slot);
  return at >= 0 && at < candidateCount;
}

/** The labels of `slot`'s endpoint; none for a slot that is not known. */
export function labelsOf(context: Pick<PickContext, "pool">, slot: number): Labels {
  return context.pool.endpoint(slot)?.labels ?? NO_LABELS;
}

const NO_LABELS: Labels = {};
