// A prepared request to an engine's answer: pools in the order that was chosen, each as try-pool.ts has it,
// until one answers.
//
//   those of the request's own variant, and only then those of another, where the tenant allows that
//     each, without waiting in a full one while another may have room
//     a full one's queue, where none had room
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
import { countRequest, mayRetry } from "./retry-gate.ts";
import { ATTEMPTS_PER_POOL_MAX, type PoolTry, tryPool, views } from "./try-pool.ts";

type Failure = Extract<PoolOutcome, { ok: false }>;
type Success = Extract<PoolOutcome, { ok: true }>;

/** Finds somebody to answer. Expected failures are values. */
export async function dispatch(job: Job): Promise<Dispatched> {
  const { facts } = job.telemetry;
  countRequest();
  countForHedging(job);
  const walk = new PoolWalk({ ...job, nextAttempt: () => ++facts.attempts });
  const routes = job.routes.slice(0, job.routing.retryPoolsMax);
  const own = routes.filter((route) => !route.isFallback);
  const others = own.length === routes.length ? [] : routes.filter((route) => route.isFallback);
  return (await walk.tryAll(own)) ?? (await walk.tryAll(others)) ?? walk.verdict();
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

  /** Undefined: none of them answers, others may. */
  async tryAll(routes: readonly ModelRoute[]): Promise<Dispatched | undefined> {
    let full: ModelRoute | undefined;
    for (const [i, route] of routes.entries()) {
      const later = routes.slice(i + 1);
      const waits = (later.length === 0 && full === undefined) || this.#isWaitExpected(route);
      const done = await this.#try(route, { waits, later });
      if (done !== "next") return done;
      if (this.#isFull && route.pool.hasQueue && !waits) full ??= route;
    }
    if (full === undefined) return undefined;
    const done = await this.#try(full, { waits: true, later: [] });
    return done === "next" ? undefined : done;
  }

  verdict(): Dispatched {
    return this.#kept ?? this.#failure ?? clientLeft();
  }

  /** Whether the last pool was. */
  #isFull = false;

  async #try(
    route: ModelRoute,
    { waits, later }: { readonly waits: boolean; readonly later: readonly ModelRoute[] },
  ): Promise<Dispatched | "next"> {
    const leg = this.#leg;
    const { name } = route.pool.config;
    this.#isFull = false;
    if (this.#sent > 0 && !(await mayRetry(views.of(name), this.#sent, leg))) return this.verdict();
    const nowMs = Date.now();
    const usable = later.filter(({ pool }) => breakers.state(pool.config.name, nowMs) !== "open");
    const hasOther = usable.length > 0;
    const attemptsMax = ATTEMPTS_PER_POOL_MAX;
    const how: PoolTry = { route, waits, hasOther, attemptsMax, exclude: [] };
    const isHedged = leg.routing.hedge !== undefined;
    const outcome = await (isHedged ? tryHedged(leg, how, usable) : tryPool(leg, how));
    if (!outcome.ok) return this.#failed(outcome, later.length > 0);
    if (outcome.isRefusal && later.length > 0) {
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
