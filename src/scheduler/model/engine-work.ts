// What has been sent to each engine, in the units of what it costs there.
//
//   busy until = max(now, busy until) + uncached tokens × ms a token      at each dispatch
//
// A queue of work as a fluid: it fills when a request is sent and drains by itself, so it needs no report
// between two samples and heals from any mistake. An engine computes prompts in the order they come,
// so what is left of it is what the next request waits for.

/** Work counted ahead of now at most: a mistake is over by then. */
export const BUSY_MS_MAX = 600_000;
/** Of the mean tokens of a request: the last ones count most. */
const REQUEST_SHARE = 1 / 16;
/** Tokens sent to the whole pool, by endpoint, after which a token of before counts half. */
const HALVING_TOKENS = 262_144;
const WEIGHT_MAX = 1e12;

/** Of `slots` endpoints. */
export class EngineWork {
  /** Unix ms at which the prompts sent there will have been computed. */
  readonly prefillBusyUntilMs: Float64Array;
  /** Mean tokens that a request sent there adds to what its KV memory holds. */
  readonly requestTokens: Float64Array;
  /** Uncached prompt tokens sent there, older ones for less. Only proportions mean something. */
  readonly coldTokens: Float64Array;
  /** What a token sent now counts. */
  #weight = 1;

  constructor(slots: number) {
    this.prefillBusyUntilMs = new Float64Array(slots);
    this.requestTokens = new Float64Array(slots);
    this.coldTokens = new Float64Array(slots);
  }

  clear(slot: number): void {
    this.prefillBusyUntilMs[slot] = 0;
    this.requestTokens[slot] = 0;
    this.coldTokens[slot] = 0;
  }

  /** Counts a request; gives the work that is ahead of it, in ms. */
  sent(slot: number, request: SentRequest, endpointCount: number): number {
    const { nowMs, uncachedTokens, kvTokens, msPerToken } = request;
    const startMs = Math.max(nowMs, this.prefillBusyUntilMs[slot]!);
    const endMs = startMs + uncachedTokens * msPerToken;
    this.prefillBusyUntilMs[slot] = Math.min(nowMs + BUSY_MS_MAX, endMs);
    const mean = this.requestTokens[slot]!;
    this.requestTokens[slot] = mean === 0 ? kvTokens : mean + REQUEST_SHARE * (kvTokens - mean);
    this.#countCold(slot, uncachedTokens, endpointCount);
    return startMs - nowMs;
  }

  /** A request that was sent there and is not going to be computed there. */
  takenBack(slot: number, uncachedMs: number, nowMs: number): void {
    const untilMs = this.prefillBusyUntilMs[slot]!;
    if (untilMs > nowMs) this.prefillBusyUntilMs[slot] = Math.max(nowMs, untilMs - uncachedMs);
  }

  /** Instead of shrinking every count, what is new counts more. */
  #countCold(slot: number, tokens: number, endpointCount: number): void {
    this.#weight *= 2 ** (tokens / (HALVING_TOKENS * Math.max(1, endpointCount)));
    this.coldTokens[slot]! += tokens * this.#weight;
    if (this.#weight < WEIGHT_MAX) return;
    for (let i = 0; i < this.coldTokens.length; i++) this.coldTokens[i]! /= this.#weight;
    this.#weight = 1;
  }
}

export interface SentRequest {
  readonly nowMs: number;
  /** Prompt tokens that are not cached there. */
  readonly uncachedTokens: number;
  /** What it will add to the KV memory in use: these and its answer. */
  readonly kvTokens: number;
  readonly msPerToken: number;
}
