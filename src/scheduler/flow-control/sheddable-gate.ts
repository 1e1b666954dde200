// Who is turned away while the feature gate is off and nobody waits: requests of a negative priority, in
// a full pool.
//
//   priority < 0 and detector(the request's candidates) ≥ 1   →   429
//
// Everybody else passes at once, however full the pool is. With the gate on nobody is: who has a
// negative priority waits in a band of its own.
//
// Source: llm-d-router pkg/epp/requestcontrol/admission.go, LegacyAdmissionController. There the refusal
// carries no dropped-reason header. Endpoints that are ejected are left out here while others are there, as
// in SaturationMeter; no candidate at all is a full pool, as there.

import { isEjected } from "../ejection.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { Dropped } from "../outcome.ts";
import { createSubset } from "../subset.ts";
import type { SaturationDetector } from "./contracts.ts";
import type { PoolView } from "./saturation.ts";

type Sheddable = Pick<InferenceRequest, "priority" | "subset">;

/** One a pool; it holds 4 kB. */
export class SheddableGate {
  readonly #detector: SaturationDetector;
  readonly #candidates = new Int32Array(ENDPOINTS_MAX);

  constructor(detector: SaturationDetector) {
    this.#detector = detector;
  }

  /** Why the request is turned away; undefined if it is not. To be asked before an endpoint is picked. */
  refusal(request: Sheddable, view: PoolView): Dropped | undefined {
    if (request.priority >= 0) return undefined;
    const standing = this.#list(request, view, false);
    const candidateCount = standing > 0 ? standing : this.#list(request, view, true);
    const { endpoints, nowMs, staleAfterMs } = view;
    const candidates = this.#candidates;
    const part = { endpoints, nowMs, staleAfterMs, candidates, candidateCount };
    // Not `>=`: a saturation that is no number is full.
    if (this.#detector.saturation(part) < 1) return undefined;
    return REFUSAL;
  }

  #list({ subset }: Sheddable, view: PoolView, withEjected: boolean): number {
    const { endpoints, pool } = view;
    const isOfSubset = subset === undefined ? undefined : createSubset(subset);
    let count = 0;
    for (let slot = 0; slot < endpoints.slotCount; slot++) {
      if (endpoints.isPresent[slot] !== 1) continue;
      if (!withEjected && isEjected(view, slot)) continue;
      if (isOfSubset !== undefined && !isOfSubset(pool.endpoint(slot)!)) continue;
      this.#candidates[count++] = slot;
    }
    return count;
  }
}

const REFUSAL: Dropped = {
  ok: false,
  reason: "rejected-saturated",
  detail: "system saturated, sheddable request dropped",
};
