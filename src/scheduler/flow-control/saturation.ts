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
import { type Endpoint, ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { EndpointDirectory } from "../plugin.ts";
import { hasRole } from "../roles.ts";
import type { SaturationDetector, SaturationView } from "./contracts.ts";

export interface PoolView {
  readonly endpoints: EndpointColumns;
  readonly pool: EndpointDirectory;
  readonly nowMs: number;
  readonly staleAfterMs: number;
}

export interface PoolSaturation {
  readonly saturation: number;
  /** Of each stage alone; undefined for one that no endpoint does. */
  readonly prefill: number | undefined;
  readonly decode: number | undefined;
  readonly endpointCount: number;
}

/** What is told of it: stages that have endpoints, and the pool. */
export function toldOf({ saturation, prefill, decode }: PoolSaturation) {
  return {
    saturation,
    stages: {
      ...(prefill === undefined ? {} : { prefill }),
      ...(decode === undefined ? {} : { decode }),
    },
  };
}

const PREFILL = 1;
const DECODE = 2;

/** One a pool; it holds 30 kB. */
export class SaturationMeter {
  readonly #detector: SaturationDetector;
  /** Slots of all endpoints, of those that prefill, and of those that decode. */
  readonly #all = new Int32Array(ENDPOINTS_MAX);
  readonly #prefill = new Int32Array(ENDPOINTS_MAX);
  readonly #decode = new Int32Array(ENDPOINTS_MAX);
  /** Those of one of these that are not stale. */
  readonly #fresh = new Int32Array(ENDPOINTS_MAX);
  /** What the endpoint in a slot does, read from its labels when it is first seen. */
  readonly #stages = new Uint8Array(ENDPOINTS_MAX);
  readonly #seen: (Endpoint | undefined)[] = [];

  constructor(detector: SaturationDetector) {
    this.#detector = detector;
  }

  /** See SaturationDetector.lagMs. */
  lagMs(staleAfterMs: number): number {
    return this.#detector.lagMs(staleAfterMs);
  }

  // Hot path: called once a request that is let through; flow-control in bench/. O(endpoints).
  measure(view: PoolView): PoolSaturation {
    const { all, prefill: prefillCount, decode: decodeCount } = this.#list(view);
    const prefill = prefillCount > 0 ? this.#of(view, this.#prefill, prefillCount) : undefined;
    const decode = decodeCount > 0 ? this.#of(view, this.#decode, decodeCount) : undefined;
    const saturation =
      prefill === undefined && decode === undefined
        ? this.#of(view, this.#all, all)
        : Math.max(prefill ?? -Infinity, decode ?? -Infinity);
    return { saturation, prefill, decode, endpointCount: all };
  }

  /**
   * How many requests more the pool takes until its saturation is `ceiling`, about: of its fullest stage.
   * O(endpoints).
   */
  room(view: PoolView, ceiling = 1): number {
    const { all, prefill, decode } = this.#list(view);
    const roomOf = (slots: Int32Array, count: number) =>
      this.#roomOf(part(view, slots, count), ceiling);
    if (prefill + decode === 0) return roomOf(this.#all, all);
    const ofPrefill = prefill > 0 ? roomOf(this.#prefill, prefill) : Infinity;
    const ofDecode = decode > 0 ? roomOf(this.#decode, decode) : Infinity;
    return Math.min(ofPrefill, ofDecode);
  }

  /** How many it takes that has nothing to do: of its smallest stage. O(endpoints). */
  capacity(view: PoolView): number {
    const { all, prefill, decode } = this.#list(view);
    const of = (slots: Int32Array, count: number) => this.#capacityOf(part(view, slots, count));
    if (prefill + decode === 0) return of(this.#all, all);
    const ofPrefill = prefill > 0 ? of(this.#prefill, prefill) : Infinity;
    return Math.min(ofPrefill, decode > 0 ? of(this.#decode, decode) : Infinity);
  }

  #capacityOf(looked: SaturationView): number {
    return looked.candidateCount * (this.#detector.requestsOfFull?.(looked) ?? 1);
  }

  #roomOf(looked: SaturationView, ceiling: number): number {
    const free = ceiling - this.#detector.saturation(looked);
    const requests = free * this.#capacityOf(looked);
    return requests > 0 ? requests : 0;
  }

  #of(view: PoolView, slots: Int32Array, count: number): number {
    return this.#detector.saturation(part(view, slots, count));
  }

  /**
   * How full the pool is as far as anybody can see: without the endpoints whose samples are stale, which
   * `measure` may count as full. A stage of which nothing is known counts as empty. O(endpoints).
   */
  freshSaturation(view: PoolView): number {
    if (this.staleCount(view) === 0) return this.measure(view).saturation;
    const { all, prefill, decode } = this.#list(view);
    if (prefill + decode === 0) return this.#ofFresh(view, this.#all, all);
    const ofPrefill = this.#ofFresh(view, this.#prefill, prefill);
    return Math.max(ofPrefill, this.#ofFresh(view, this.#decode, decode));
  }

  #ofFresh(view: PoolView, slots: Int32Array, count: number): number {
    const fresh = this.#fresh;
    const alone = part(view, new Int32Array(1), 1);
    let freshCount = 0;
    for (let i = 0; i < count; i++) {
      alone.candidates[0] = slots[i]!;
      if (this.#detector.staleCount?.(alone) === 0) fresh[freshCount++] = slots[i]!;
    }
    return freshCount === 0 ? 0 : this.#of(view, fresh, freshCount);
  }

  /** Endpoints that nobody has heard of lately, of all stages, as far as the detector looks at that. */
  staleCount(view: PoolView): number {
    const { all } = this.#list(view);
    return this.#detector.staleCount?.(part(view, this.#all, all)) ?? 0;
  }

  /** Of endpoints that can be reached, or of all where none can. */
  #list(view: PoolView): { all: number; prefill: number; decode: number } {
    const standing = this.#listIf(view, false);
    return standing.all > 0 ? standing : this.#listIf(view, true);
  }

  #listIf(view: PoolView, withEjected: boolean): { all: number; prefill: number; decode: number } {
    const { endpoints } = view;
    let all = 0;
    let prefill = 0;
    let decode = 0;
    for (let slot = 0; slot < endpoints.slotCount; slot++) {
      if (endpoints.isPresent[slot] !== 1) continue;
      if (!withEjected && isEjected(view, slot)) continue;
      const stages = this.#stagesOf(view, slot);
      this.#all[all++] = slot;
      if ((stages & PREFILL) !== 0) this.#prefill[prefill++] = slot;
      if ((stages & DECODE) !== 0) this.#decode[decode++] = slot;
    }
    return { all, prefill, decode };
  }

  #stagesOf(view: PoolView, slot: number): number {
    const endpoint = view.pool.endpoint(slot);
    if (this.#seen[slot] !== endpoint) {
      this.#seen[slot] = endpoint;
      const prefill = hasRole(view, slot, "prefill") ? PREFILL : 0;
      this.#stages[slot] = prefill | (hasRole(view, slot, "decode") ? DECODE : 0);
    }
    return this.#stages[slot]!;
  }
}

function part(view: PoolView, candidates: Int32Array, candidateCount: number): SaturationView {
  const { endpoints, nowMs, staleAfterMs } = view;
  return { endpoints, nowMs, staleAfterMs, candidates, candidateCount };
}
