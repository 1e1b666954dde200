// Runs a scheduling profile over a pool and returns the endpoints to try, in order.

import type { SchedulerConfig } from "./config.ts";
import type { EndpointColumns } from "./model/endpoint-columns.ts";
import { ENDPOINTS_MAX } from "./model/endpoint-table.ts";
import type { InferenceRequest } from "./model/inference-request.ts";
import type { Dropped } from "./outcome.ts";
import {
  type NarrowingContext,
  type PluginSubstitution,
  type ProfileRecorder,
  SchedulingProfile,
} from "./profile.ts";
import { createRng } from "./support/rng.ts";

/** What a pick looks at. */
export interface PickInput {
  readonly request: InferenceRequest;
  readonly endpoints: EndpointColumns;
  /** Fills `out` (by slot) with matched blocks of `keys`. See PrefixTree.match. */
  readonly match: (keys: Uint32Array, out: Int32Array) => void;
  readonly nowMs: number;
  readonly staleAfterMs: number;
  /** Seeds the tie-breaks: the same input and seed give the same choice. */
  readonly seed: number;
  /** Slots that failed for this request already. */
  readonly exclude?: readonly number[];
}

export interface Picked {
  readonly ok: true;
  /** Slots in the order to try. A view into the picker's buffer: valid until the next pick. */
  readonly slots: Int32Array;
  /** Blocks of the request that slots[0] holds, of `totalBlocks`. */
  readonly matchedBlocks: number;
  readonly totalBlocks: number;
}

/** Sees a whole decision: who was considered, what each plugin said, who was chosen. */
export interface PickRecorder extends ProfileRecorder {
  /** First call: the candidates before any filter. */
  considered(context: NarrowingContext): void;
  /** Last call: totals after scoring and the choice. Arrays are only valid during the call. */
  picked(context: NarrowingContext, totals: Float64Array, slots: Int32Array): void;
}

/** Endpoints of one choice. */
export const DESTINATIONS_MAX = 8;

/** One per pool. Owns every buffer of a decision; holds about 30 kB. */
export class EndpointPicker {
  readonly #profile: SchedulingProfile;
  readonly #candidates = new Int32Array(ENDPOINTS_MAX);
  readonly #totals = new Float64Array(ENDPOINTS_MAX);
  readonly #scores = new Float64Array(ENDPOINTS_MAX);
  readonly #slots = new Int32Array(DESTINATIONS_MAX);
  readonly #prefix: { matchedBlocks: Int32Array; totalBlocks: number } = {
    matchedBlocks: new Int32Array(ENDPOINTS_MAX),
    totalBlocks: 0,
  };

  constructor(config: SchedulerConfig, substitution?: PluginSubstitution) {
    this.#profile = new SchedulingProfile(config.schedulingProfiles[0]!, substitution);
  }

  /**
   * Chooses. Scorers that learn from picks are told at once, so ask only when the choice will be
   * granted: who has no room refuses before.
   */
  // Hot path: pick-64 and pick-1000 in bench/. Allocates one context and the result.
  pick(input: PickInput, recorder?: PickRecorder): Picked | Dropped {
    const context = this.#begin(input);
    if (context.candidateCount === 0) {
      return {
        ok: false,
        reason: "rejected-no-endpoints",
        detail: "the pool has no endpoint that may be picked",
      };
    }
    input.match(input.request.keys, this.#prefix.matchedBlocks);
    recorder?.considered(context);
    if (this.#profile.filter(context, recorder) === 0) {
      return {
        ok: false,
        reason: "rejected-saturated",
        detail: "no endpoint passed the scheduling profile's filters",
      };
    }
    this.#profile.score(context, this.#totals, this.#scores, recorder);
    const count = this.#profile.pick(context, this.#totals, createRng(input.seed), this.#slots);
    const slots = this.#slots.subarray(0, count);
    recorder?.picked(context, this.#totals, slots);
    this.#profile.onPicked(context, slots[0]!);
    return {
      ok: true,
      slots,
      matchedBlocks: context.prefix.matchedBlocks[slots[0]!]!,
      totalBlocks: context.prefix.totalBlocks,
    };
  }

  /** Forgets a slot that is about to be reused. */
  onEndpointRemoved(slot: number): void {
    this.#profile.onEndpointRemoved(slot);
  }

  #begin(input: PickInput): NarrowingContext {
    const { endpoints, exclude } = input;
    const candidates = this.#candidates;
    let count = 0;
    for (let slot = 0; slot < endpoints.slotCount; slot++) {
      if (endpoints.isPresent[slot] !== 1) continue;
      if (exclude !== undefined && exclude.includes(slot)) continue;
      candidates[count++] = slot;
    }
    this.#prefix.totalBlocks = input.request.keys.length / 2;
    return {
      request: input.request,
      endpoints,
      prefix: this.#prefix,
      candidates,
      candidateCount: count,
      nowMs: input.nowMs,
      staleAfterMs: input.staleAfterMs,
    };
  }
}
