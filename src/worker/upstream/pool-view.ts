// What one isolate knows of one pool: its last snapshot, whether its object answers, and how many
// retries it may still cost.

import type { PoolSnapshot } from "../../durable/contract.ts";
import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";
import { RetryBudget } from "../../scheduler/support/retry-budget.ts";
import type { Subset } from "../../scheduler/subset.ts";
import type { Rng } from "../../scheduler/support/rng.ts";
import { chooseOfTwo } from "../../scheduler/two-choices.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";

/** A snapshot of this age is asked to be replaced with the next pick. */
export const SNAPSHOT_FRESH_MS = 1_000;
/** How long a pool is served from its last snapshot while its object is away. */
export const SNAPSHOT_SERVES_MS = 60_000;
/** After a failed call the object is not asked again for this long, if a snapshot can stand in. */
export const AWAY_MS = 1_000;
/** Endpoints given to a relay from a snapshot: two choices, and one in case both fail. */
export const SNAPSHOT_CHOICES = 3;
/**
 * Retries by one isolate that may happen at once, beyond a tenth of the pool's requests: as many as may wait
 * for their first byte in another cluster when that is lost.
 */
export const WORKER_RETRY_RESERVE = 512;
/** Pools remembered; every pool of a full deployment fits. */
export const VIEWS_MAX = DEPLOYMENT_LIMITS.poolsMax;

export class PoolView {
  readonly retries = new RetryBudget(WORKER_RETRY_RESERVE, () =>
    metrics.inc(METRIC.workerRetriesDeniedTotal, {}),
  );
  #addresses: readonly string[] = [];
  /** Loads of the snapshot, and what this isolate has sent since. */
  #loads: number[] = [];
  #takenAtMs = -Infinity;
  #awayUntilMs = 0;

  wantsSnapshot(nowMs: number): boolean {
    return nowMs - this.#takenAtMs >= SNAPSHOT_FRESH_MS;
  }

  update(snapshot: PoolSnapshot, nowMs: number): void {
    this.#addresses = snapshot.addresses;
    this.#loads = [...snapshot.loads];
    this.#takenAtMs = nowMs;
  }

  /** Whether the pool has, as far as is known, an endpoint beside this one. */
  knowsOther(address: string): boolean {
    return this.#addresses.some((each) => each !== address);
  }

  /** The object did not answer. A lease: afterwards it is asked again. */
  markAway(nowMs: number): void {
    this.#awayUntilMs = nowMs + AWAY_MS;
  }

  /**
   * One request asks an object that was away whether it is back, for `deadlineMs` at most. Until it
   * knows, the others go on with the snapshot.
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

  canServe(nowMs: number): boolean {
    return this.#addresses.length > 0 && nowMs - this.#takenAtMs < SNAPSHOT_SERVES_MS;
  }

  /**
   * Endpoints by power of two choices, in the order to try them; counts the first as sent to. Empty
   * if the snapshot is too old, or holds none but the excluded and those outside of `subset`.
   */
  choose(exclude: readonly string[], nowMs: number, rng: Rng, subset?: Subset): string[] {
    if (!this.canServe(nowMs)) return [];
    const isOut = (address: string) =>
      exclude.includes(address) || (subset !== undefined && !subset({ address }));
    const left = this.#addresses.flatMap((address, i) => (isOut(address) ? [] : [i]));
    const chosen = chooseOfTwo(left, this.#loads, SNAPSHOT_CHOICES, rng);
    if (chosen[0] !== undefined) this.#loads[chosen[0]]! += 1;
    return chosen.map((i) => this.#addresses[i]!);
  }
}

/** The views of one isolate. */
export class PoolViews {
  readonly #views = new Map<string, PoolView>();

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
