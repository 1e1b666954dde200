// Contracts of the plugins: Filter → Score → Pick, as llm-d's scheduling framework.

import type { z } from "zod";
import type { EndpointColumns } from "./model/endpoint-columns.ts";
import type { InferenceRequest } from "./model/inference-request.ts";
import type { Rng } from "./support/rng.ts";

/** How much of a request's prefix each endpoint holds. Written by a data producer before scoring. */
export interface PrefixMatch {
  /** By slot: blocks of the request held without a gap from the first. Stale slots hold garbage. */
  readonly matchedBlocks: Int32Array;
  /** Blocks the request has; 0 for a prompt shorter than a block. */
  readonly totalBlocks: number;
}

/**
 * One decision in progress. The EndpointPicker owns everything in it and reuses it for the next
 * decision: a plugin must not retain any part after returning.
 */
export interface PickContext {
  readonly request: InferenceRequest;
  readonly endpoints: EndpointColumns;
  readonly prefix: PrefixMatch;
  /** Slots still in the running are `candidates[0 .. candidateCount)`, in ascending order. */
  readonly candidates: Int32Array;
  readonly candidateCount: number;
  /** Unix ms at which the decision is taken. */
  readonly nowMs: number;
  /** Samples older than this are stale: their endpoint ranks behind every fresh one. */
  readonly staleAfterMs: number;
}

/** Removes candidates. */
export interface Filter {
  /**
   * Compacts `context.candidates` in place, keeping order, and returns how many are left.
   * 0 ends the decision with `rejected-saturated`, as in llm-d.
   */
  filter(context: PickContext): number;
}

/** Ranks candidates. A higher score is better. */
export interface Scorer {
  /**
   * Writes one value in [0, 1] into each of `out[0 .. context.candidateCount)` (out[i] belongs to
   * slot candidates[i]) and touches nothing else. The caller owns `out`.
   */
  score(context: PickContext, out: Float64Array): void;
  /** Told after a pick whose request was sent to `slot`. For scorers that learn from picks. */
  onPicked?(context: PickContext, slot: number): void;
  /** Told when an endpoint leaves: forget `slot`, it will be reused. */
  onEndpointRemoved?(slot: number): void;
}

/** Orders the scored candidates. */
export interface Picker {
  /**
   * Writes the slots to try, best first, into `out` and returns how many.
   * `totals[i]` is the weighted sum for candidates[i]. A candidate that is not chosen does not
   * matter: without it the choice is the same. Records of large pools, which keep the best candidates
   * only, rely on it.
   */
  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number;
}

export interface PluginDefinition<Type extends string, Params extends z.ZodType, Instance> {
  readonly type: Type;
  readonly params: Params;
  /** One instance per profile and pool; what it remembers must be rebuildable after an eviction. */
  create(params: z.output<Params>): Instance;
}
export type FilterPlugin<T extends string, P extends z.ZodType> = PluginDefinition<T, P, Filter>;
export type ScorerPlugin<T extends string, P extends z.ZodType> = PluginDefinition<T, P, Scorer>;
export type PickerPlugin<T extends string, P extends z.ZodType> = PluginDefinition<T, P, Picker>;

/** Identity functions; they exist so that `create` sees the parsed type of `params`. */
export function defineFilter<const T extends string, P extends z.ZodType>(
  plugin: FilterPlugin<T, P>,
): FilterPlugin<T, P> {
  return plugin;
}
export function defineScorer<const T extends string, P extends z.ZodType>(
  plugin: ScorerPlugin<T, P>,
): ScorerPlugin<T, P> {
  return plugin;
}
export function definePicker<const T extends string, P extends z.ZodType>(
  plugin: PickerPlugin<T, P>,
): PickerPlugin<T, P> {
  return plugin;
}
