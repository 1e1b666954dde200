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

import type { WorkerRelease } from "../../durable/contract.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { FirstByteTimes, HedgeBudget } from "./hedge-times.ts";
import type { Job, Leg, LegWatch, PoolOutcome } from "./job.ts";
import type { Grant } from "./pool-picks.ts";
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
  const watch = new Watch(job);
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
  return decide(job, first, new Way(job, second, new Watch(job)));
}

function countDenied(): void {
  metrics.inc(METRIC.hedgesTotal, { outcome: "denied" });
}

/** Undefined: there is nobody else to ask. */
function secondTry(
  how: PoolTry,
  { grant, pool }: Watch,
  others: readonly ModelRoute[],
): PoolTry | undefined {
  const once = { waits: false, hasOther: true, attemptsMax: 1 };
  const route = others.find((other) => other.pool.config.name !== pool);
  if (route !== undefined) return { ...once, route, exclude: [] };
  const [slow] = grant?.endpoints ?? [];
  return slow === undefined ? undefined : { ...once, route: how.route, exclude: [slow] };
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

/** Measures how long answers take, and says when one is late. */
class Watch implements LegWatch {
  readonly #job: Leg;
  readonly #isLate = Promise.withResolvers<"late">();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #sentAtMs = 0;
  /** Of the latest attempt. */
  grant: Grant | undefined;
  pool = "";

  constructor(job: Leg) {
    this.#job = job;
  }

  get late(): Promise<"late"> {
    return this.#isLate.promise;
  }

  sent(grant: Grant, pool: string): void {
    this.grant = grant;
    this.pool = pool;
    this.#sentAtMs = Date.now();
    const { percentile, minMs } = this.#job.routing.hedge!;
    const { isStream } = this.#job.telemetry.facts;
    const usualMs = times.percentileMs(pool, isStream, percentile);
    if (usualMs === undefined) return;
    this.#timer = setTimeout(() => this.#isLate.resolve("late"), Math.max(minMs, usualMs));
  }

  ended(answer: Parameters<LegWatch["ended"]>[0]): void {
    clearTimeout(this.#timer);
    const isSuccess = answer.kind === "answered" && answer.response.status < 300;
    if (isSuccess) this.#add();
  }

  /** It was not waited for any longer. */
  givenUp(): void {
    clearTimeout(this.#timer);
    if (this.#sentAtMs > 0) this.#add();
  }

  #add(): void {
    const { isStream } = this.#job.telemetry.facts;
    times.add(this.pool, isStream, Date.now() - this.#sentAtMs);
  }
}

/** One of the two ways, with what is noted on it apart from the other's. */
class Way {
  readonly #job: Leg;
  readonly #leg: Leg;
  readonly #watch: Watch;
  readonly #controller = new AbortController();
  readonly outcome: Promise<PoolOutcome>;

  constructor(job: Leg, how: PoolTry, watch: Watch) {
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
