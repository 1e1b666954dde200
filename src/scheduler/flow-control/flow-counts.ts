// What is counted of bands and flows, for metrics and for people.

import type { DropReason } from "../outcome.ts";

/** Served tokens are compared over the current and the last window. */
export const SERVICE_WINDOW_MS = 60_000;
/** What a token of an answer counts. */
const OUTPUT_WEIGHT = 2;

/** Since the band began. */
export class BandCounts {
  enqueued = 0;
  dispatched = 0;
  waitSumMs = 0;
  waitMaxMs = 0;
  readonly dropped: Partial<Record<DropReason, number>> = {};

  addWait(waitMs: number): void {
    this.dispatched += 1;
    this.waitSumMs += waitMs;
    this.waitMaxMs = Math.max(this.waitMaxMs, waitMs);
  }

  addDropped(reason: DropReason): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1;
  }
}

/** What a flow was served lately. */
export class FlowService {
  dispatched = 0;
  waitSumMs = 0;
  #window = 0;
  #tokens = 0;
  #tokensBefore = 0;

  /** Tokens that are expected, and later what they were off by. */
  add(tokens: Readonly<{ uncachedTokens: number; outputTokens: number }>, nowMs: number): void {
    this.#turn(nowMs);
    this.#tokens += tokens.uncachedTokens + OUTPUT_WEIGHT * tokens.outputTokens;
  }

  tokensLately(nowMs: number): number {
    this.#turn(nowMs);
    return Math.max(0, this.#tokens + this.#tokensBefore);
  }

  #turn(nowMs: number): void {
    const window = Math.floor(nowMs / SERVICE_WINDOW_MS);
    if (window <= this.#window) return;
    this.#tokensBefore = window === this.#window + 1 ? this.#tokens : 0;
    this.#tokens = 0;
    this.#window = window;
  }
}

/**
 * Jain's index of fairness: 1 where all have the same, 1 / n where one has everything. 1 also where
 * nobody has anything.
 */
export function jainIndex(values: readonly number[]): number {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}
