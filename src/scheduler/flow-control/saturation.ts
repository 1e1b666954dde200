// How full a pool is: its detector asked for the endpoints of each stage.
//
//   saturation = max(detector(prefill), detector(decode))       over the stages that have endpoints
//                detector(all) where none has; 1 without endpoints
//
// An endpoint does a stage by its label, see roles.ts; one that does both counts in both. Endpoints that
// are ejected are no room, so they are left out while others are there.
//
// Source: llm-d-router pkg/epp/flowcontrol/controller/internal/processor.go. As there a request's subset
// does not matter: the queue is the pool's.

import { isEjected } from "../ejection.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { EndpointDirectory } from "../plugin.ts";
import { hasRole, type Stage } from "../roles.ts";
import type { SaturationDetector } from "./contracts.ts";

export interface PoolView {
  readonly endpoints: EndpointColumns;
  readonly pool: EndpointDirectory;
  readonly nowMs: number;
  readonly staleAfterMs: number;
}

export interface PoolSaturation {
  readonly saturation: number;
  readonly endpointCount: number;
  /** Endpoints that nobody has heard of lately, as far as the detector looks at that. */
  readonly staleCount: number;
}

const STAGES: readonly Stage[] = ["prefill", "decode"];

/** One a pool; it holds 12 kB. */
export class SaturationMeter {
  readonly #detector: SaturationDetector;
  readonly #all = new Int32Array(ENDPOINTS_MAX);
  readonly #stage = new Int32Array(ENDPOINTS_MAX);

  constructor(detector: SaturationDetector) {
    this.#detector = detector;
  }

  /** See SaturationDetector.lagMs. */
  lagMs(staleAfterMs: number): number {
    return this.#detector.lagMs(staleAfterMs);
  }

  // Hot path: called once a request that is let through. O(endpoints).
  measure(view: PoolView): PoolSaturation {
    const endpointCount = this.#list(view);
    const all = { ...view, candidates: this.#all, candidateCount: endpointCount };
    let saturation = -1;
    for (const stage of STAGES) {
      const candidateCount = this.#listStage(view, stage, endpointCount);
      if (candidateCount === 0) continue;
      const part = { ...view, candidates: this.#stage, candidateCount };
      saturation = Math.max(saturation, this.#detector.saturation(part));
    }
    if (saturation < 0) saturation = this.#detector.saturation(all);
    return { saturation, endpointCount, staleCount: this.#detector.staleCount?.(all) ?? 0 };
  }

  #list(view: PoolView): number {
    const { endpoints } = view;
    let present = 0;
    let standing = 0;
    for (let slot = 0; slot < endpoints.slotCount; slot++) {
      if (endpoints.isPresent[slot] !== 1) continue;
      present += 1;
      if (!isEjected(view, slot)) this.#all[standing++] = slot;
    }
    if (standing > 0 || present === 0) return standing;
    for (let slot = 0; slot < endpoints.slotCount; slot++)
      if (endpoints.isPresent[slot] === 1) this.#all[standing++] = slot;
    return standing;
  }

  #listStage(view: PoolView, stage: Stage, count: number): number {
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const slot = this.#all[i]!;
      if (hasRole(view, slot, stage)) this.#stage[kept++] = slot;
    }
    return kept;
  }
}
