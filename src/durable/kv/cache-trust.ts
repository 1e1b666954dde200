// Whether decisions go by what events say of an endpoint, and of a model's prompts.
//
//   trusted ──stays wrong──► demoted ──lease──► trusted        judged anew; the next lease is twice as long,
//      ▲                                           │           up to a bound
//      └──────── a full window that is good ◄──────┘           then the next lease is the shortest again
//
// While somebody is demoted, nothing is compared, and what was found before is shown.
//
// An endpoint that stays wrong is demoted by itself. Where all endpoints are wrong about one model's
// prompts, it is what is known of their content (a chat template that was taken for another, an adapter),
// and not the endpoints: then that model is demoted for all of them.
//
// Lost with the object's memory: who is wrong shows it again within some thirty requests.

import { ENDPOINTS_MAX } from "../../scheduler/model/endpoint-table.ts";
import type { CacheAccuracy } from "../state.ts";
import { AccuracyWindow } from "./accuracy-window.ts";
import type { Comparison } from "./prediction.ts";

export const TRUST_LIMITS = {
  /** Comparisons before anybody is judged. */
  comparedMin: 24,
  /** Share of a window that may be charged to it. */
  chargedShareMax: 0.25,
  /** Of one model: comparisons of an endpoint before it counts as one more that is wrong. */
  comparedByEndpointMin: 4,
  leaseMsMin: 60_000,
  leaseMsMax: 30 * 60_000,
  /** Models whose prompts are judged; past it the one goes that was judged longest ago. */
  modelsMax: 64,
} as const;

interface Judged {
  readonly window: AccuracyWindow;
  /** Of the next lease. */
  leaseMs: number;
  /** 0 while it is trusted, and has been judged since. */
  demotedUntilMs: number;
}

/** Since the beginning. */
export interface DemotionCounts {
  endpoint: number;
  model: number;
}

export class CacheTrust {
  readonly demotions: DemotionCounts = { endpoint: 0, model: 0 };
  readonly #endpoints = new Map<number, Judged>();
  /** By slot: 1 while it is demoted, as of before #changesAtMs. */
  readonly #isDemoted = new Uint8Array(ENDPOINTS_MAX);
  #changesAtMs = Infinity;
  /** Last judged last. */
  readonly #models = new Map<string, Judged>();

  /** One more request was compared with what its endpoint reported. */
  compared(at: { slot: number; model: string; nowMs: number }, comparison: Comparison): void {
    const endpoint = this.#endpoints.get(at.slot) ?? newJudged();
    this.#endpoints.set(at.slot, endpoint);
    const model = this.#modelOf(at.model);
    for (const judged of [endpoint, model]) beginAgain(judged, at.nowMs);
    if (isDemoted(endpoint, at.nowMs) || isDemoted(model, at.nowMs)) return;
    endpoint.window.add(at.slot, comparison);
    model.window.add(at.slot, comparison);
    // The model first: its mistakes are in the endpoints' windows, too.
    if (isWrong(model) && isWrongEverywhere(model)) {
      demote(model, at.nowMs);
      this.demotions.model++;
      for (const { window } of this.#endpoints.values()) window.clear();
    } else if (isWrong(endpoint)) {
      demote(endpoint, at.nowMs);
      this.demotions.endpoint++;
      this.#changesAtMs = 0;
    }
    for (const judged of [endpoint, model]) forgive(judged);
  }

  /** By slot: 1 while the endpoint is demoted. A view, valid until the next call of any method. */
  demoted(nowMs: number): Uint8Array {
    if (nowMs < this.#changesAtMs) return this.#isDemoted;
    this.#isDemoted.fill(0);
    this.#changesAtMs = Infinity;
    for (const [slot, judged] of this.#endpoints) {
      if (!isDemoted(judged, nowMs)) continue;
      this.#isDemoted[slot] = 1;
      this.#changesAtMs = Math.min(this.#changesAtMs, judged.demotedUntilMs);
    }
    return this.#isDemoted;
  }

  isModelDemoted(model: string, nowMs: number): boolean {
    return isDemoted(this.#models.get(model), nowMs);
  }

  /** Models whose prompts are demoted now. */
  demotedModels(nowMs: number): number {
    let count = 0;
    for (const judged of this.#models.values()) if (isDemoted(judged, nowMs)) count++;
    return count;
  }

  /** Undefined before the first comparison. */
  accuracyOf(slot: number): CacheAccuracy | undefined {
    const window = this.#endpoints.get(slot)?.window;
    if (window === undefined || window.count === 0) return undefined;
    return {
      compared: window.count,
      withinBlock: Math.round(window.rightShare * window.count),
      meanErrorTokens: Math.round(window.meanErrorTokens),
    };
  }

  /** Its engine is a new process, and is judged anew. The next lease is as long as it would have been. */
  endpointRestarted(slot: number): void {
    const judged = this.#endpoints.get(slot);
    if (judged === undefined) return;
    judged.window.clear();
    judged.demotedUntilMs = 0;
    this.#changesAtMs = 0;
  }

  /** Another endpoint has the slot. */
  endpointRemoved(slot: number): void {
    this.#endpoints.delete(slot);
    this.#isDemoted[slot] = 0;
  }

  #modelOf(name: string): Judged {
    const model = this.#models.get(name) ?? newJudged();
    this.#models.delete(name);
    const [oldest] = this.#models.keys();
    if (this.#models.size >= TRUST_LIMITS.modelsMax && oldest !== undefined)
      this.#models.delete(oldest);
    this.#models.set(name, model);
    return model;
  }
}

function newJudged(): Judged {
  return {
    window: new AccuracyWindow(),
    leaseMs: TRUST_LIMITS.leaseMsMin,
    demotedUntilMs: 0,
  };
}

function isDemoted(judged: Judged | undefined, nowMs: number): boolean {
  return judged !== undefined && judged.demotedUntilMs > nowMs;
}

function isWrong({ window }: Judged): boolean {
  const { comparedMin, chargedShareMax } = TRUST_LIMITS;
  return window.count >= comparedMin && window.chargedShare > chargedShareMax;
}

/** Two endpoints or more are wrong about it, and none is right. */
function isWrongEverywhere({ window }: Judged): boolean {
  const { comparedByEndpointMin, chargedShareMax } = TRUST_LIMITS;
  const judged = [...window.bySlot().values()].filter(
    ({ count }) => count >= comparedByEndpointMin,
  );
  return (
    judged.length > 1 && judged.every(({ count, charged }) => charged > count * chargedShareMax)
  );
}

function demote(judged: Judged, nowMs: number): void {
  judged.demotedUntilMs = nowMs + judged.leaseMs;
  judged.leaseMs = Math.min(judged.leaseMs * 2, TRUST_LIMITS.leaseMsMax);
}

/** Its lease is over: it is judged by what comes. */
function beginAgain(judged: Judged, nowMs: number): void {
  if (judged.demotedUntilMs === 0 || isDemoted(judged, nowMs)) return;
  judged.demotedUntilMs = 0;
  judged.window.clear();
}

function forgive(judged: Judged): void {
  if (judged.window.isFull && !isWrong(judged)) judged.leaseMs = TRUST_LIMITS.leaseMsMin;
}
