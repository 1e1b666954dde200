// What has been sent to each engine, in the units of what it costs there.
//
//   busy until = max(now, busy until) + uncached tokens × ms a token      at each dispatch
//
// A queue of work as a fluid: it fills when a request is sent and drains by itself, so it needs no report
// between two samples and heals from any mistake. An engine computes prompts in the order they come,
// so what is left of it is what the next request waits for.
//
// What is left is tokens: when an endpoint is learned to be faster, it takes less time. Left as it was, it would
// be more tokens at once, of which one would learn that the endpoint is faster still.
//
// What others have sent is heard of late, some of it at once: it has drained since, as far as the engine had
// nothing else to do. Taken as if it had just been sent, it would be a wait that nobody has. Of what they take
// back no more goes than stands there of theirs: what had drained was never counted. That is taken to be computed
// before one's own, so what stands is never more than that.

/** Work counted ahead of now at most: a mistake is over by then. */
export const BUSY_MS_MAX = 600_000;
/** What others tell of was sent within this time: whoever sends tells every 250 ms, and hears as often. */
const TOLD_WITHIN_MS = 500;
/** Of the mean tokens of a request: the last ones count most. */
const REQUEST_SHARE = 1 / 16;
/** Cold tokens sent to the pool, by endpoint, after which one of before counts half: some cache turnovers. */
const HALVING_TOKENS = 1_048_576;

/** Of `slots` endpoints. */
export class EngineWork {
  /** Unix ms at which the prompts sent there will have been computed. */
  readonly prefillBusyUntilMs: Float64Array;
  /** Mean tokens that a request sent there adds to what its KV memory holds. */
  readonly requestTokens: Float64Array;
  /** Tokens of cold prompts sent there; those that others were sent after count less. */
  readonly coldTokens: Float64Array;
  /** Time without work since others' was heard of last, or TOLD_WITHIN_MS if that is less. */
  readonly #idleMs: Float64Array;
  /** Unix ms at which others' part of what is counted will have been computed, were it the first. */
  readonly #othersUntilMs: Float64Array;
  /** Until when that has been counted. */
  readonly #idleUntilMs: Float64Array;
  /** By which prefillBusyUntilMs was counted last; 0 before that. */
  readonly #msPerToken: Float64Array;

  constructor(slots: number) {
    this.prefillBusyUntilMs = new Float64Array(slots);
    this.requestTokens = new Float64Array(slots);
    this.coldTokens = new Float64Array(slots);
    this.#idleMs = new Float64Array(slots);
    this.#idleUntilMs = new Float64Array(slots);
    this.#othersUntilMs = new Float64Array(slots);
    this.#msPerToken = new Float64Array(slots);
  }

  /**
   * The slot is a new endpoint's. It begins beside the one of `isPresent` that has been sent the least
   * cold tokens: from nothing, it would be sent every cold prompt until it had caught up.
   */
  clear(slot: number, isPresent: Uint8Array): void {
    this.prefillBusyUntilMs[slot] = 0;
    this.requestTokens[slot] = 0;
    this.#idleMs[slot] = 0;
    this.#idleUntilMs[slot] = 0;
    this.#othersUntilMs[slot] = 0;
    this.#msPerToken[slot] = 0;
    let least = Infinity;
    for (let other = 0; other < isPresent.length; other++) {
      if (other !== slot && isPresent[other] === 1)
        least = Math.min(least, this.coldTokens[other]!);
    }
    this.coldTokens[slot] = least === Infinity ? 0 : least;
  }

  /** Counts a request; gives the work that is ahead of it, in ms. */
  sent(slot: number, request: SentRequest, endpointCount: number): number {
    const { kvTokens } = request;
    const mean = this.requestTokens[slot]!;
    this.requestTokens[slot] = mean === 0 ? kvTokens : mean + REQUEST_SHARE * (kvTokens - mean);
    return this.added(slot, request, endpointCount);
  }

  /** Counts the prompt of a request that was counted before; gives the work that is ahead of it, in ms. */
  added(slot: number, prompt: SentPrompt, endpointCount: number): number {
    const { nowMs, uncachedTokens, promptTokens, msPerToken } = prompt;
    this.#countIdle(slot, nowMs);
    const startMs = nowMs + this.#leftMs(slot, nowMs, msPerToken);
    const endMs = startMs + uncachedTokens * msPerToken;
    this.prefillBusyUntilMs[slot] = Math.min(nowMs + BUSY_MS_MAX, endMs);
    // A prompt that is cached in part counts for less than its part: its cached blocks stay.
    const coldShare = promptTokens > 0 ? uncachedTokens / promptTokens : 0;
    this.#countCold(slot, uncachedTokens * coldShare * coldShare, endpointCount);
    return startMs - nowMs;
  }

  /** The columns of `slot` are of another table: they go together as they are. */
  copied(slot: number): void {
    this.#msPerToken[slot] = 0;
    this.#othersUntilMs[slot] = 0;
  }

  /** Of others' work that was counted, what is left in ms: at most all that is. */
  othersLeftMs(slot: number, nowMs: number): number {
    const untilMs = Math.min(this.#othersUntilMs[slot]!, this.prefillBusyUntilMs[slot]!);
    return Math.max(0, untilMs - nowMs);
  }

  /** Others have sent work there since they were heard of last, or, below 0, taken it back. */
  workedElsewhere(slot: number, workMs: number, nowMs: number): void {
    if (workMs >= 0) this.#addedElsewhere(slot, workMs, nowMs);
    else this.#takenBackElsewhere(slot, -workMs, nowMs);
  }

  /** What had no time to drain is ahead. */
  #addedElsewhere(slot: number, workMs: number, nowMs: number): void {
    this.#countIdle(slot, nowMs);
    const leftMs = Math.max(0, workMs - this.#idleMs[slot]!);
    this.#idleMs[slot] = 0;
    const startMs = Math.max(nowMs, this.prefillBusyUntilMs[slot]!);
    this.prefillBusyUntilMs[slot] = Math.min(nowMs + BUSY_MS_MAX, startMs + leftMs);
    this.#othersUntilMs[slot] = nowMs + this.othersLeftMs(slot, nowMs) + leftMs;
  }

  #takenBackElsewhere(slot: number, workMs: number, nowMs: number): void {
    const standingMs = this.othersLeftMs(slot, nowMs);
    const takenMs = Math.min(workMs, standingMs);
    this.#othersUntilMs[slot] = nowMs + standingMs - takenMs;
    this.takenBack(slot, takenMs, nowMs);
  }

  /** A request that was sent there and is not going to be computed there. */
  takenBack(slot: number, uncachedMs: number, nowMs: number): void {
    const untilMs = this.prefillBusyUntilMs[slot]!;
    if (untilMs > nowMs) this.prefillBusyUntilMs[slot] = Math.max(nowMs, untilMs - uncachedMs);
  }

  /** Of what was counted before, by what a token is taken to take now. */
  #leftMs(slot: number, nowMs: number, msPerToken: number): number {
    const leftMs = Math.max(0, this.prefillBusyUntilMs[slot]! - nowMs);
    const before = this.#msPerToken[slot]!;
    this.#msPerToken[slot] = msPerToken;
    if (before === 0) return leftMs;
    const ratio = msPerToken / before;
    this.#othersUntilMs[slot] = nowMs + this.othersLeftMs(slot, nowMs) * ratio;
    return leftMs * ratio;
  }

  #countIdle(slot: number, nowMs: number): void {
    const fromMs = Math.max(this.prefillBusyUntilMs[slot]!, this.#idleUntilMs[slot]!);
    if (fromMs < nowMs) {
      const idleMs = this.#idleMs[slot]! + nowMs - fromMs;
      this.#idleMs[slot] = Math.min(TOLD_WITHIN_MS, idleMs);
    }
    this.#idleUntilMs[slot] = nowMs;
  }

  #countCold(slot: number, tokens: number, endpointCount: number): void {
    if (tokens === 0) return;
    const kept = 2 ** (-tokens / (HALVING_TOKENS * Math.max(1, endpointCount)));
    const { coldTokens } = this;
    for (let i = 0; i < coldTokens.length; i++) coldTokens[i]! *= kept;
    coldTokens[slot]! += tokens;
  }
}

export interface SentPrompt {
  readonly nowMs: number;
  /** Prompt tokens that are to be computed there. */
  readonly uncachedTokens: number;
  readonly promptTokens: number;
  readonly msPerToken: number;
}

export interface SentRequest extends SentPrompt {
  /** What it will add to the KV memory in use: prompt tokens that are not cached there, and its answer. */
  readonly kvTokens: number;
}
