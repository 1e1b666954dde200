// A scheduling profile at work: filters, weighted scorers, picker.
//
//   total[i] = Σ_s clamp01(score_s[i]) × weight_s        NaN counts as 0
//
// Source: llm-d-router pkg/epp/scheduling/scheduler_profile.go. llm-d does not handle NaN.

import type { ResolvedProfile } from "./config/resolve.ts";
import type {
  Filter,
  PickContext,
  Picker,
  ScoreTerms,
  Scorer,
  NarrowingContext,
} from "./plugin.ts";
import { type Called, type PluginCalls, restoreCandidates } from "./plugin-calls.ts";
import type { Plugins } from "./plugins.ts";
import type { Rng } from "./support/rng.ts";

/** Sees each step of a profile's run. Absent on decisions nobody records. Arrays are reused after a call. */
export interface ProfileRecorder {
  /** After each filter, in order: `slots[0 .. count)` are left. */
  filtered(slots: Int32Array, count: number): void;
  /** After each scorer, in order: `scores[i]`, within [0, 1], belongs to context.candidates[i]. */
  scored(context: PickContext, scores: Float64Array, terms?: ScoreTerms): void;
}

interface WeightedScorer {
  readonly called: Called<Scorer>;
  readonly weight: number;
}

/** One profile of one pool. Its plugins are shared with the pool's other profiles. */
export class SchedulingProfile {
  readonly name: string;
  readonly #calls: PluginCalls;
  readonly #filters: readonly Called<Filter>[];
  readonly #scorers: readonly WeightedScorer[];
  readonly #picker: Picker;

  constructor(profile: ResolvedProfile, plugins: Plugins) {
    this.name = profile.name;
    this.#calls = plugins.calls;
    this.#filters = profile.filters.map(({ name }) => plugins.called(name));
    this.#scorers = profile.scorers.map(({ plugin, weight }) => ({
      weight,
      called: plugins.called(plugin.name),
    }));
    this.#picker = plugins.get(profile.picker.name) as Picker;
  }

  /**
   * Narrows `context.candidates`; returns how many are left. `all` are the candidates as they are
   * before.
   */
  filter(context: NarrowingContext, all: Int32Array, recorder?: ProfileRecorder): number {
    let failed: Called<Filter>[] | undefined;
    for (const called of this.#filters) {
      this.#calls.enter(called);
      try {
        context.candidateCount = called.plugin.filter(context);
      } catch (error) {
        this.#calls.failed(called, error);
        failed = [...(failed ?? []), called];
        this.#filterAgain(context, all, failed);
      }
      recorder?.filtered(context.candidates, context.candidateCount);
      if (context.candidateCount === 0) return 0;
    }
    return context.candidateCount;
  }

  /**
   * What the filters up to the last failed one left, without those that failed: it may have moved
   * candidates before it threw, and nothing is copied for the case that one does.
   */
  #filterAgain(
    context: NarrowingContext,
    all: Int32Array,
    failed: readonly Called<Filter>[],
  ): void {
    restoreCandidates(context, all);
    for (const called of this.#filters) {
      if (called === failed.at(-1)) return;
      if (failed.includes(called)) continue;
      this.#calls.enter(called);
      try {
        context.candidateCount = called.plugin.filter(context);
      } catch {
        // It did not throw a moment ago. All are kept.
        restoreCandidates(context, all);
        return;
      }
    }
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
    for (const { called, weight } of this.#scorers) {
      const hasScored = this.#score(called, context, scores);
      for (let i = 0; i < count; i++) {
        const score = scores[i]!;
        if (!(score > 0)) scores[i] = 0;
        else if (score > 1) scores[i] = 1;
        totals[i]! += scores[i]! * weight;
      }
      recorder?.scored(context, scores, hasScored ? called.plugin.terms : undefined);
    }
  }

  /** Zeros where the scorer throws. */
  #score(called: Called<Scorer>, context: PickContext, scores: Float64Array): boolean {
    this.#calls.enter(called);
    try {
      called.plugin.score(context, scores);
      return true;
    } catch (error) {
      this.#calls.failed(called, error);
      scores.fill(0, 0, context.candidateCount);
      return false;
    }
  }

  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number {
    return this.#picker.pick(context, totals, rng, out);
  }
}
