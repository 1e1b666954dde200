// A scheduling profile at work: filters, weighted scorers, picker.
//
//   total[i] = Σ_s clamp01(score_s[i]) × weight_s        NaN counts as 0
//
// Source: llm-d-router pkg/epp/scheduling/scheduler_profile.go. llm-d does not handle NaN.

import type { ResolvedProfile } from "./config/resolve.ts";
import type { Filter, PickContext, Picker, ScoreTerms, Scorer } from "./plugin.ts";
import type { Plugins } from "./plugins.ts";
import type { Rng } from "./support/rng.ts";

/** Sees each step of a profile's run. Absent on decisions nobody records. Arrays are reused after a call. */
export interface ProfileRecorder {
  /** After each filter, in order: `slots[0 .. count)` are left. */
  filtered(slots: Int32Array, count: number): void;
  /** After each scorer, in order: `scores[i]`, within [0, 1], belongs to context.candidates[i]. */
  scored(context: PickContext, scores: Float64Array, terms?: ScoreTerms): void;
}

/** A context whose candidates the profile may narrow. */
export type NarrowingContext = { -readonly [K in keyof PickContext]: PickContext[K] };

interface WeightedScorer {
  readonly plugin: Scorer;
  readonly weight: number;
}

/** One profile of one pool. Its plugins are shared with the pool's other profiles. */
export class SchedulingProfile {
  readonly name: string;
  readonly #filters: readonly Filter[];
  readonly #scorers: readonly WeightedScorer[];
  readonly #picker: Picker;

  constructor(profile: ResolvedProfile, plugins: Plugins) {
    this.name = profile.name;
    this.#filters = profile.filters.map(({ name }) => plugins.get(name) as Filter);
    this.#scorers = profile.scorers.map(({ plugin, weight }) => ({
      weight,
      plugin: plugins.get(plugin.name) as Scorer,
    }));
    this.#picker = plugins.get(profile.picker.name) as Picker;
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
      recorder?.scored(context, scores, plugin.terms);
    }
  }

  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
    return this.#picker.pick(context, totals, rng, out);
  }
}
