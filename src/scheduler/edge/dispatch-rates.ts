// What is sent to a pool in the mean, read off its table's totals now and then.

import type { DispatchTotals } from "../model/dispatch-totals.ts";
import type { DispatchRate } from "./contracts.ts";

/** Between two readings; a shorter time says little. */
const READ_EACH_MS = 500;
/** Of the last reading in the mean. */
const NEWEST_SHARE = 0.5;

export class DispatchRates {
  readonly #totals: DispatchTotals;
  #read: Readonly<Omit<DispatchTotals, "add" | "addUncached">> | undefined;
  #readAtMs = -Infinity;
  #rate: DispatchRate | undefined;

  constructor(totals: DispatchTotals) {
    this.#totals = totals;
  }

  /** Undefined before the second reading. */
  get rate(): DispatchRate | undefined {
    return this.#rate;
  }

  read(nowMs: number): void {
    const passedMs = nowMs - this.#readAtMs;
    if (passedMs < READ_EACH_MS) return;
    const before = this.#read;
    const { requests, promptTokens, uncachedTokens, kvTokens, uncachedSquares } = this.#totals;
    this.#read = { requests, promptTokens, uncachedTokens, kvTokens, uncachedSquares };
    this.#readAtMs = nowMs;
    if (before === undefined) return;
    const sent = requests - before.requests;
    const known = this.#rate;
    const newest = {
      requestsPerS: (sent * 1_000) / passedMs,
      promptTokens: mean(promptTokens - before.promptTokens, sent, known?.promptTokens),
      uncachedTokens: mean(uncachedTokens - before.uncachedTokens, sent, known?.uncachedTokens),
      kvTokens: mean(kvTokens - before.kvTokens, sent, known?.kvTokens),
      aheadTokens: mean(
        uncachedSquares - before.uncachedSquares,
        uncachedTokens - before.uncachedTokens,
        known?.aheadTokens,
      ),
    };
    this.#rate = known === undefined ? newest : blended(known, newest);
  }
}

/** As before where nothing was sent. */
function mean(tokens: number, sent: number, before = 0): number {
  return sent > 0 ? tokens / sent : before;
}

function blended(known: DispatchRate, newest: DispatchRate): DispatchRate {
  const blend = (name: keyof DispatchRate) => {
    const before = known[name] ?? 0;
    return before + NEWEST_SHARE * ((newest[name] ?? 0) - before);
  };
  return {
    requestsPerS: blend("requestsPerS"),
    promptTokens: blend("promptTokens"),
    uncachedTokens: blend("uncachedTokens"),
    kvTokens: blend("kvTokens"),
    aheadTokens: blend("aheadTokens"),
  };
}
