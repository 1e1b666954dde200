// A prepared request to an engine's answer: pools in the order that was chosen, each as try-pool.ts has it,
// until one answers.
//
//   neighbours that are of the request's own variant, or of another, where the tenant allows that
//     each, without waiting in a full one while another of them may have room
//     a full one's queue, where none of them had room
//   the next neighbours: see chosen-pools.ts for who comes when
//
// The first in the order may be waited for all the same, where its wait is what it was chosen with: then the
// others are farther away than that. What was sent and failed costs a retry of the next pool; a pool that was
// not sent anything costs none. An engine's refusal (429, 502, 503) is kept, and is the answer where no other
// pool has a better one.

import { METRIC } from "../../telemetry/names.ts";
import type { ModelRoute } from "../model-routes.ts";
import { metrics } from "../metrics.ts";
import { breakers } from "../pools/breakers.ts";
import { countForHedging, discard, tryHedged } from "./hedge.ts";
import { clientLeft, type Dispatched, type Job, type Leg, type PoolOutcome } from "./job.ts";
import { views } from "./pick-in-pool.ts";
import { countRequest, mayRetry } from "./retry-gate.ts";
import { ATTEMPTS_PER_POOL_MAX, type PoolTry, tryPool } from "./try-pool.ts";

type Failure = Extract<PoolOutcome, { ok: false }>;
type Success = Extract<PoolOutcome, { ok: true }>;

/** Finds somebody to answer. Expected failures are values. */
export async function dispatch(job: Job): Promise<Dispatched> {
  const { facts } = job.telemetry;
  countRequest();
  countForHedging(job);
  let reserved = 0;
  const walk = new PoolWalk({
    nextAttempt: () => ++facts.attempts + reserved,
    reserveAttempt: () => facts.attempts + ++reserved,
    paid: new Set(),
    ...job,
  });
  const routes = job.routes.slice(0, job.routing.retryPoolsMax);
  let start = 0;
  while (start < routes.length) {
    const end = neighboursEnd(routes, start);
    const done = await walk.tryAll(routes.slice(start, end), routes.slice(end));
    if (done !== undefined) return done;
    start = end;
  }
  return walk.verdict();
}

/** Where those end that are fallbacks as much as the one at `start`. */
function neighboursEnd(routes: readonly ModelRoute[], start: number): number {
  const { isFallback } = routes[start]!;
  const next = routes.findIndex((route, i) => i > start && route.isFallback !== isFallback);
  return next === -1 ? routes.length : next;
}

/** How one pool's turn comes. */
interface TurnOfPool {
  readonly waits: boolean;
  /** Those neighbours that come next. */
  readonly beside: readonly ModelRoute[];
  /** Those behind all neighbours. */
  readonly after: readonly ModelRoute[];
}

/** What one request has met so far. */
class PoolWalk {
  readonly #leg: Leg;
  /** How many pools it was sent to in vain. */
  #sent = 0;
  /** The one that tells the client most. */
  #failure: Failure | undefined;
  /** An engine's refusal, its body unread. */
  #kept: Success | undefined;

  constructor(leg: Leg) {
    this.#leg = leg;
  }

  /** Undefined: none of them answers; those `after` them may. */
  async tryAll(
    routes: readonly ModelRoute[],
    after: readonly ModelRoute[],
  ): Promise<Dispatched | undefined> {
    let full: ModelRoute | undefined;
    for (const [i, route] of routes.entries()) {
      const beside = routes.slice(i + 1);
      const waits = (beside.length === 0 && full === undefined) || this.#isWaitExpected(route);
      const done = await this.#try(route, { waits, beside, after });
      if (done !== "next") return done;
      if (this.#isFull && route.pool.hasQueue && !waits) full ??= route;
    }
    if (full === undefined) return undefined;
    const done = await this.#try(full, { waits: true, beside: [], after });
    return done === "next" ? undefined : done;
  }

  verdict(): Dispatched {
    return this.#kept ?? this.#failure ?? clientLeft();
  }

  /** Whether the last pool was. */
  #isFull = false;

  async #try(
    route: ModelRoute,
    { waits, beside, after }: TurnOfPool,
  ): Promise<Dispatched | "next"> {
    const leg = this.#leg;
    const { name } = route.pool.config;
    this.#isFull = false;
    if (this.#sent > 0 && !(await mayRetry(views.of(name), this.#sent, leg))) return this.verdict();
    const nowMs = Date.now();
    const isUsable = ({ pool }: ModelRoute) => breakers.state(pool.config.name, nowMs) !== "open";
    const usable = beside.filter(isUsable);
    const hasOther = usable.length > 0 || after.some(isUsable);
    const hasLater = beside.length + after.length > 0;
    const attemptsMax = ATTEMPTS_PER_POOL_MAX;
    const how: PoolTry = { route, waits, hasOther, attemptsMax, exclude: [] };
    const isHedged = leg.routing.hedge !== undefined;
    // Being late is no reason for another variant.
    const outcome = await (isHedged ? tryHedged(leg, how, usable) : tryPool(leg, how));
    if (!outcome.ok) return this.#failed(outcome, hasLater);
    if (outcome.isRefusal && hasLater) {
      this.#keep(outcome);
      return "next";
    }
    if (this.#kept === undefined) return outcome;
    if (outcome.isRefusal) {
      discard(outcome, "cancelled");
      return this.#kept;
    }
    discard(this.#kept, "cancelled");
    return outcome;
  }

  #failed(outcome: Failure, hasLater: boolean): Dispatched | "next" {
    if (outcome.why === "final") return this.#kept ?? outcome;
    if (outcome.why === "failed") this.#sent += 1;
    this.#isFull = outcome.why === "full";
    // That there is capacity, and that it is in use, says more than that somebody could not be reached.
    if (this.#failure?.why !== "full") this.#failure = outcome;
    if (hasLater) metrics.inc(METRIC.poolFailoversTotal, { why: outcome.why });
    return "next";
  }

  #keep(outcome: Success): void {
    metrics.inc(METRIC.poolFailoversTotal, { why: "engine-refusal" });
    this.#sent += 1;
    if (this.#kept === undefined) this.#kept = outcome;
    else discard(outcome, "cancelled");
  }

  #isWaitExpected(route: ModelRoute): boolean {
    const { name } = route.pool.config;
    const candidate = this.#leg.choice?.find(({ pool }) => pool === name);
    return (candidate?.terms["waitMs"] ?? 0) > 0;
  }
}
