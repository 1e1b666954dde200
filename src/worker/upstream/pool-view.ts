// What one isolate keeps of a pool besides its replica: whether an object of it answers, and how many retries
// the pool may still cost.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";
import { RetryBudget } from "../../scheduler/support/retry-budget.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";

/** After a failed call the object is not asked again for this long, if a replica can stand in. */
export const AWAY_MS = 1_000;
/**
 * Retries by one isolate that may happen at once, beyond a tenth of the pool's requests: as many as may wait
 * for their first byte in another cluster when that is lost.
 */
export const WORKER_RETRY_RESERVE = 512;
/** Pools and objects remembered: every pool of a full deployment fits, with some objects each. */
export const VIEWS_MAX = 4 * DEPLOYMENT_LIMITS.poolsMax;

export class PoolView {
  readonly retries = new RetryBudget(WORKER_RETRY_RESERVE, () =>
    metrics.inc(METRIC.workerRetriesDeniedTotal, {}),
  );
  #awayUntilMs = 0;

  /** The object did not answer. A lease: afterwards it is asked again. */
  markAway(nowMs: number): void {
    this.#awayUntilMs = nowMs + AWAY_MS;
  }

  /**
   * One request asks an object that was away whether it is back, for `deadlineMs` at most. Until it
   * knows, the others go on with the replica.
   */
  beginProbe(nowMs: number, deadlineMs: number): void {
    if (this.#awayUntilMs > 0) this.#awayUntilMs = nowMs + deadlineMs;
  }

  /** The object has answered. */
  markBack(): void {
    this.#awayUntilMs = 0;
  }

  isAway(nowMs: number): boolean {
    return nowMs < this.#awayUntilMs;
  }
}

/** The views of one isolate. */
export class PoolViews {
  readonly #views = new Map<string, PoolView>();

  /** By the name of a pool, or the address of one of its objects. */
  of(pool: string): PoolView {
    const known = this.#views.get(pool);
    if (known !== undefined) return known;
    // Only pools of the configuration are asked for; renaming them long enough could fill this.
    if (this.#views.size >= VIEWS_MAX) this.#views.clear();
    const view = new PoolView();
    this.#views.set(pool, view);
    return view;
  }
}
