// How long one way of a request has waited for its first byte, and whether that is late.

import type { FirstByteTimes } from "./hedge-times.ts";
import type { Job, LegWatch } from "./job.ts";
import type { Grant } from "./pool-picks.ts";

type WatchedJob = Pick<Job, "routing" | "telemetry">;

/** Measures how long answers take, and says when one is late. */
export class HedgeWatch implements LegWatch {
  readonly #job: WatchedJob;
  readonly #times: FirstByteTimes;
  readonly #isLate = Promise.withResolvers<"late">();
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Of the attempt that is under way, if one is. */
  #sentAtMs: number | undefined;
  /** Of the latest attempt. */
  grant: Grant | undefined;
  pool = "";

  constructor(job: WatchedJob, times: FirstByteTimes) {
    this.#job = job;
    this.#times = times;
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
    const usualMs = this.#times.percentileMs(pool, isStream, percentile);
    if (usualMs === undefined) return;
    this.#timer = setTimeout(() => this.#isLate.resolve("late"), Math.max(minMs, usualMs));
  }

  ended(answer: Parameters<LegWatch["ended"]>[0]): void {
    clearTimeout(this.#timer);
    const isSuccess = answer.kind === "answered" && answer.response.status < 300;
    if (isSuccess) this.#add();
    this.#sentAtMs = undefined;
  }

  /** It was not waited for any longer, if it was under way. */
  givenUp(): void {
    clearTimeout(this.#timer);
    this.#add();
    this.#sentAtMs = undefined;
  }

  #add(): void {
    if (this.#sentAtMs === undefined) return;
    const { isStream } = this.#job.telemetry.facts;
    this.#times.add(this.pool, isStream, Date.now() - this.#sentAtMs);
  }
}
