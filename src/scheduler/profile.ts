// A scheduling profile at work: filters, weighted scorers, picker.
//
//   total[i] = Σ_s clamp01(score_s[i]) × weight_s        NaN counts as 0
//
// Source: llm-d-router pkg/epp/scheduling/scheduler_profile.go. llm-d does not handle NaN.

import type { SchedulingProfileConfig } from "./config.ts";
import type { Filter, PickContext, Picker, Scorer } from "./plugin.ts";
import { FILTERS, PICKERS, pluginOf, SCORERS } from "./registry.ts";
import type { Rng } from "./support/rng.ts";

/** Sees each step of a decision. Absent on decisions nobody records. Arrays are reused after a call. */
export interface ProfileRecorder {
  /** After each filter, in order: `slots[0 .. count)` are left. */
  filtered(slots: Int32Array, count: number): void;
  /** After each scorer, in order: `scores[i]`, within [0, 1], belongs to context.candidates[i]. */
  scored(context: PickContext, scores: Float64Array): void;
}

/** Puts another plugin in the place of one that was just created. A replay does. */
export interface PluginSubstitution {
  filter(type: string, plugin: Filter): Filter;
  scorer(type: string, plugin: Scorer): Scorer;
}

const NO_SUBSTITUTION: PluginSubstitution = {
  filter: (_type, plugin) => plugin,
  scorer: (_type, plugin) => plugin,
};

/** A context whose candidates the profile may narrow. */
export type NarrowingContext = { -readonly [K in keyof PickContext]: PickContext[K] };

interface WeightedScorer {
  readonly plugin: Scorer;
  readonly weight: number;
}

/** One profile of one pool, with its plugins' memory. */
export class SchedulingProfile {
  readonly name: string;
  readonly #filters: readonly Filter[];
  readonly #scorers: readonly WeightedScorer[];
  readonly #picker: Picker;

  constructor(config: SchedulingProfileConfig, substitution = NO_SUBSTITUTION) {
    this.name = config.name;
    this.#filters = config.filters.map((ref) =>
      substitution.filter(ref.type, pluginOf(FILTERS, ref).create(ref.params as never)),
    );
    this.#scorers = config.scorers.map((ref) => ({
      weight: ref.weight,
      plugin: substitution.scorer(ref.type, pluginOf(SCORERS, ref).create(ref.params as never)),
    }));
    this.#picker = pluginOf(PICKERS, config.picker).create(config.picker.params as never);
  }

  /** Narrows `context.candidates`; returns how many are left. */
  filter(context: NarrowingContext, recorder?: ProfileRecorder): number {
    for (const plugin of this.#filters) {
      context.candidateCount = plugin.filter(context);
      recorder?.filtered(context.candidates, context.candidateCount);
      if (context.candidateCount === 0) return 0;
    }
    return context.candidateCount;
  }

  /**
   * Adds every scorer's weighted score into `totals[0 .. candidateCount)`, which it clears first.
   * `scores` is scratch of the same length.
   */
  score(
    context: PickContext,
    totals: Float64Array,
    scores: Float64Array,
    recorder?: ProfileRecorder,
  ): void {
    const count = context.candidateCount;
    totals.fill(0, 0, count);
    for (const { plugin, weight } of this.#scorers) {
      plugin.score(context, scores);
      for (let i = 0; i < count; i++) {
        const score = scores[i]!;
        if (!(score > 0)) scores[i] = 0;
        else if (score > 1) scores[i] = 1;
        totals[i]! += scores[i]! * weight;
      }
      recorder?.scored(context, scores);
    }
  }

  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
    return this.#picker.pick(context, totals, rng, out);
  }

  /** Tells the scorers that learn where the request was sent. */
  onPicked(context: PickContext, slot: number): void {
    for (const { plugin } of this.#scorers) plugin.onPicked?.(context, slot);
  }

  onEndpointRemoved(slot: number): void {
    for (const { plugin } of this.#scorers) plugin.onEndpointRemoved?.(slot);
  }
}
