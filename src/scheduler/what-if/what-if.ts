// Takes recorded decisions again under another configuration, and adds up how the two differ.
//
// Each decision is taken as it was found: what the other configuration would have done to loads and
// caches before is not in it. So a configuration that herds looks better here than it is; `imbalance`
// and a shadow on real traffic tell more. Both sides are measured by one prediction.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { replayAttempt } from "../decisions/replay.ts";
import type { ReplayableAttempt } from "../decisions/replay-document.ts";
import { quantile } from "./quantile.ts";
import type { Calibration, Disagreement, WhatIfReport } from "./report.ts";
import { type Side, sideOf } from "./side.ts";
import { judge, type Margins } from "./verdict.ts";

export const WHAT_IF_LIMITS = {
  /** Decisions of one comparison: each is kept as a few numbers. */
  decisionsMax: 100_000,
  examplesMax: 5,
  /** Different notes; later ones are left out. */
  notesMax: 32,
  /** Endpoints that requests are counted for. */
  endpointsMax: 4_096,
} as const;

/** Requests by endpoint, and who was a candidate at all. */
class Spread {
  readonly #requests = new Map<string, number>();

  candidate(address: string): void {
    if (this.#requests.size < WHAT_IF_LIMITS.endpointsMax && !this.#requests.has(address))
      this.#requests.set(address, 0);
  }

  chosen(address: string): void {
    const requests = this.#requests.get(address);
    if (requests !== undefined) this.#requests.set(address, requests + 1);
  }

  /** Most over mean; 1 for an even spread. */
  imbalance(): number {
    const counts = [...this.#requests.values()];
    const sum = counts.reduce((total, count) => total + count, 0);
    return sum === 0 ? 1 : (Math.max(...counts) * counts.length) / sum;
  }
}

/** One of the two configurations. */
class Sums {
  /** Infinity for each that was refused. */
  readonly ttftMs: number[] = [];
  readonly spread = new Spread();
  hitTokens = 0;
  refused = 0;

  add(side: Side | undefined): void {
    if (side === undefined) {
      this.refused += 1;
      this.ttftMs.push(Infinity);
      return;
    }
    this.hitTokens += side.hitTokens;
    this.ttftMs.push(side.ttftMs);
    this.spread.chosen(side.computedAt);
  }
}

/** A comparison under way. One a pool. */
export class WhatIf {
  readonly #pool: string;
  readonly #other: SchedulerConfig;
  readonly #before = new Sums();
  readonly #after = new Sums();
  readonly #predictedMs: number[] = [];
  readonly #measuredMs: number[] = [];
  readonly #examples: Disagreement[] = [];
  readonly #notes = new Map<string, number>();
  #decisions = 0;
  #disagreements = 0;
  #promptTokens = 0;
  #oldestAtMs = Infinity;
  #newestAtMs = -Infinity;
  #configVersions: WhatIfReport["configVersions"] = null;

  constructor(pool: string, other: SchedulerConfig) {
    this.#pool = pool;
    this.#other = other;
  }

  /** False once there are as many decisions as are compared. */
  get hasRoom(): boolean {
    return this.#decisions < WHAT_IF_LIMITS.decisionsMax;
  }

  /** Takes one decision again. No effect without room, or where the replay throws. */
  add(requestId: string, attempt: ReplayableAttempt): void {
    if (!this.hasRoom) return;
    const { replayed, notes } = replayAttempt(attempt, this.#other);
    const before = sideOf(attempt, attempt);
    const after = sideOf(attempt, replayed);
    this.#decisions += 1;
    this.#promptTokens += attempt.promptTokens;
    this.#oldestAtMs = Math.min(this.#oldestAtMs, attempt.atMs);
    this.#newestAtMs = Math.max(this.#newestAtMs, attempt.atMs);
    const { configVersion } = attempt;
    this.#configVersions = {
      oldest: Math.min(configVersion, this.#configVersions?.oldest ?? Infinity),
      newest: Math.max(configVersion, this.#configVersions?.newest ?? -Infinity),
    };
    for (const { address } of attempt.candidates) {
      this.#before.spread.candidate(address);
      this.#after.spread.candidate(address);
    }
    this.#before.add(before);
    this.#after.add(after);
    for (const note of notes) this.#note(note);
    const { result } = attempt;
    // A relay may have walked on to another endpoint than the first.
    const isMeasured = result !== null && result.endpoint === before?.address;
    if (isMeasured && result.ttftMs !== null) {
      this.#predictedMs.push(before!.ttftMs);
      this.#measuredMs.push(result.ttftMs);
    }
    if (before?.address !== after?.address || before?.computedAt !== after?.computedAt)
      this.#disagree({
        requestId,
        attempt: attempt.attempt,
        before: before?.address ?? null,
        after: after?.address ?? null,
        ttftMsBefore: before?.ttftMs ?? null,
        ttftMsAfter: after?.ttftMs ?? null,
      });
  }

  report(margins?: Margins): WhatIfReport {
    const both = (figure: (sums: Sums) => number) => ({
      before: figure(this.#before),
      after: figure(this.#after),
    });
    const figures = {
      decisions: this.#decisions,
      refused: both(({ refused }) => refused),
      promptTokens: this.#promptTokens,
      hitTokens: both(({ hitTokens }) => hitTokens),
      ttftP50Ms: both(({ ttftMs }) => quantile(ttftMs, 0.5)),
      ttftP90Ms: both(({ ttftMs }) => quantile(ttftMs, 0.9)),
    };
    return {
      pool: this.#pool,
      ...figures,
      oldestAtMs: orNull(this.#oldestAtMs),
      newestAtMs: orNull(this.#newestAtMs),
      configVersions: this.#configVersions,
      disagreements: this.#disagreements,
      examples: [...this.#examples],
      imbalance: both(({ spread }) => spread.imbalance()),
      calibration: this.#calibrate(),
      notes: [...this.#notes].map(([text, decisions]) => ({ text, decisions })),
      ...judge(figures, margins),
    };
  }

  #disagree(disagreement: Disagreement): void {
    this.#disagreements += 1;
    if (this.#examples.length < WHAT_IF_LIMITS.examplesMax) this.#examples.push(disagreement);
  }

  #note(text: string): void {
    const count = this.#notes.get(text);
    if (count === undefined && this.#notes.size >= WHAT_IF_LIMITS.notesMax) return;
    this.#notes.set(text, (count ?? 0) + 1);
  }

  #calibrate(): Calibration {
    const errors = this.#predictedMs.map((ms, i) => Math.abs(ms - this.#measuredMs[i]!));
    return {
      decisions: errors.length,
      predictedP50Ms: orNull(quantile(this.#predictedMs, 0.5)),
      measuredP50Ms: orNull(quantile(this.#measuredMs, 0.5)),
      predictedP90Ms: orNull(quantile(this.#predictedMs, 0.9)),
      measuredP90Ms: orNull(quantile(this.#measuredMs, 0.9)),
      errorP50Ms: orNull(quantile(errors, 0.5)),
    };
  }
}

/** JSON has neither NaN nor infinity. */
function orNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
