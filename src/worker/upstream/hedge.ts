// The same request asked for twice, where an answer is late; see hedge-times.ts for what late is.
//
//   grant ──► sent ──────────── late ──► another pool, or another endpoint of the only one
//               │                          │
//               └── the first to answer wins; the other is given up, and not billed
//
// Time counts from the grant: a wait in a queue is no reason to stand in another. The second way waits in no
// queue and is not repeated. Each way has its own attempt numbers, tickets and signal.
//
// The loser's ticket is marked before its connection is closed: the relay reports the end of what it lost to
// the same object, and by then the object is to know that nobody pays for it.

import type { PoolConfig } from "../../config/deployment.ts";
import { poolAddress } from "../../config/pool-address.ts";
import type { WorkerRelease } from "../../durable/contract.ts";
import { METRIC } from "../../telemetry/names.ts";
import { edgePools } from "../edge/edge-pools.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { FirstByteTimes, HedgeBudget } from "./hedge-times.ts";
import { HedgeWatch } from "./hedge-watch.ts";
import type { Job, Leg, PoolOutcome } from "./job.ts";
import { type PoolTry, tryPool } from "./try-pool.ts";

/** How long the loser's connection is kept for its mark to arrive. */
const MARK_MS_MAX = 500;

const times = new FirstByteTimes();
const budget = new HedgeBudget();

/** A request has come. */
export function countForHedging({ routing }: Pick<Job, "routing">): void {
  if (routing.hedge !== undefined) budget.deposit(routing.hedge.budget);
}

/** Closes what nobody wants. */
export function discard(outcome: Extract<PoolOutcome, { ok: true }>, how: WorkerRelease): void {
  outcome.grant.release(how);
  outcome.grant[Symbol.dispose]();
  // Rejects where it broke meanwhile.
  void outcome.response.body?.cancel().catch(() => undefined);
}

/** Where hedging is configured. `others` are pools that may be asked as well, best first. */
export async function tryHedged(
  job: Leg,
  how: PoolTry,
  others: readonly ModelRoute[],
): Promise<PoolOutcome> {
  const watch = new HedgeWatch(job, times);
  // Where nothing could be asked twice anyway, a request costs no signal of its own.
  if (!budget.hasRoom) {
    void watch.late.then(countDenied);
    return tryPool({ ...job, watch }, how);
  }
  const first = new Way(job, how, watch);
  const outcome = await Promise.race([first.outcome, watch.late]);
  if (outcome !== "late") {
    first.adopt();
    return outcome;
  }
  const second = secondTry(how, watch, others);
  if (second === undefined || !budget.tryWithdraw()) {
    countDenied();
    const only = await first.outcome;
    first.adopt();
    return only;
  }
  metrics.inc(METRIC.hedgesTotal, { outcome: "started" });
  job.telemetry.facts.hedge = "lost";
  return decide(job, first, new Way(job, second, new HedgeWatch(job, times)));
}

function countDenied(): void {
  metrics.inc(METRIC.hedgesTotal, { outcome: "denied" });
}

/**
 * Undefined: there is nobody else to ask, or the pool's object is away, and nobody would learn that the loser
 * is not to be billed.
 */
function secondTry(
  how: PoolTry,
  { grant, pool }: HedgeWatch,
  others: readonly ModelRoute[],
): PoolTry | undefined {
  if (grant?.isLocal === true) return undefined;
  const once = { waits: false, hasOther: true, attemptsMax: 1, needsObject: true };
  const route = others.find((other) => other.pool.config.name !== pool);
  if (route !== undefined) return { ...once, route, exclude: [] };
  const [slow] = grant?.endpoints ?? [];
  const isAlone = slow === undefined || !knowsOther(how.route.pool.config, slow);
  return isAlone ? undefined : { ...once, route: how.route, exclude: [slow] };
}

/** Whether the pool has, as far as is known of any of its objects, an endpoint beside this one. */
function knowsOther(config: PoolConfig, address: string): boolean {
  for (let shard = 0; shard < config.shards; shard++)
    if (edgePools.at(poolAddress(config, shard))?.knowsOther(address) === true) return true;
  return false;
}

async function decide(job: Leg, first: Way, second: Way): Promise<PoolOutcome> {
  const ended = await Promise.race([first.ended, second.ended]);
  const other = ended === first ? second : first;
  if (await ended.hasWon()) {
    job.hold(other.giveUp());
    return win(job, ended, second);
  }
  if (await other.hasWon()) {
    job.hold(ended.giveUp());
    return win(job, other, second);
  }
  first.adopt();
  const [own, hedged] = await Promise.all([first.outcome, second.outcome]);
  if (hedged.ok) discard(hedged, "hedge-lost");
  return own;
}

function win(job: Leg, winner: Way, second: Way): Promise<PoolOutcome> {
  winner.adopt();
  if (winner === second) {
    job.telemetry.facts.hedge = "won";
    metrics.inc(METRIC.hedgesTotal, { outcome: "won" });
  }
  return winner.outcome;
}

/** One of the two ways, with what is noted on it apart from the other's. */
class Way {
  readonly #job: Leg;
  readonly #leg: Leg;
  readonly #watch: HedgeWatch;
  readonly #controller = new AbortController();
  readonly outcome: Promise<PoolOutcome>;

  constructor(job: Leg, how: PoolTry, watch: HedgeWatch) {
    this.#job = job;
    this.#watch = watch;
    this.#leg = {
      ...job,
      call: { ...job.call },
      telemetry: { trace: job.telemetry.trace, facts: { ...job.telemetry.facts } },
      signal: AbortSignal.any([job.signal, this.#controller.signal]),
      watch,
    };
    this.outcome = tryPool(this.#leg, how);
    // Whoever waits for it hears of it; nobody may.
    this.outcome.catch(() => undefined);
  }

  /** When it has an outcome; rejects never. */
  get ended(): Promise<this> {
    return this.outcome.then(
      () => this,
      () => this,
    );
  }

  async hasWon(): Promise<boolean> {
    const outcome = await this.outcome;
    return outcome.ok && !outcome.isRefusal;
  }

  /** What was noted on it is what is told of the request. */
  adopt(): void {
    const { facts } = this.#job.telemetry;
    const { attempts, hedge } = facts;
    Object.assign(facts, this.#leg.telemetry.facts, { attempts });
    if (hedge !== undefined) facts.hedge = hedge;
    this.#job.call.requestId = this.#leg.call.requestId;
  }

  /** Never rejects. */
  async giveUp(): Promise<void> {
    this.#watch.givenUp();
    await this.#watch.grant?.lose(MARK_MS_MAX);
    this.#controller.abort();
    try {
      const outcome = await this.outcome;
      if (outcome.ok) discard(outcome, "hedge-lost");
    } catch {
      // A mistake of ours on a way that nobody waits for.
    }
  }
}
