// What runs on each endpoint, where several objects send requests to the same ones: this object's own,
// and what it was told last of the others'.
//
//   column = own × factor + others
//
// Usually the factor is 1. An object that hears nothing of the others takes each of them to do as much as it
// does itself: missing is worse, never idle.
//
// Columns are changed by differences: a copy of another table has numbers in them that are nobody's here.

/** Of one endpoint, of all other objects together. */
export interface OthersLoad {
  readonly requests: number;
  readonly tokens: number;
  /** Dispatches that no sample of the engine had shown them. */
  readonly unseen: number;
  /** Since `unseen` was told, or the last of it was: 0 where it is not known. */
  readonly ageMs?: number;
}

/** Of one endpoint, of this object alone: what others are told. */
export interface OwnLoad extends OthersLoad {
  /**
   * Prefill sent there since the endpoint has come, in tokens: each object knows by itself what a token takes. Told in
   * ms, one that takes engines for fast would hear of ever more tokens from one that takes them for slow, and
   * learn from these that they are faster still.
   */
  readonly prefillTokens: number;
  /** Tells that endpoint from those that were in its slot before. */
  readonly life: number;
}

const NONE: OthersLoad = { requests: 0, tokens: 0, unseen: 0 };

interface LoadColumns {
  readonly inFlightRequests: Int32Array;
  readonly inFlightTokens: Float64Array;
}

/** One value a slot, of as many slots as the columns have. */
export class SharedLoads {
  readonly #columns: LoadColumns;
  readonly #ownRequests: Int32Array;
  readonly #ownTokens: Float64Array;
  readonly #ownPrefill: Float64Array;
  readonly #lives: Int32Array;
  readonly #requests: Int32Array;
  readonly #tokens: Float64Array;
  readonly #unseen: Float64Array;
  /** Unix ms at which the last of `unseen` had been sent. */
  readonly #sentAtMs: Float64Array;
  /** What was sent until then is in the last sample. */
  readonly #shownUntilMs: Float64Array;
  #factor = 1;

  constructor(columns: LoadColumns) {
    const slots = columns.inFlightRequests.length;
    this.#columns = columns;
    this.#ownRequests = new Int32Array(slots);
    this.#ownTokens = new Float64Array(slots);
    this.#ownPrefill = new Float64Array(slots);
    this.#lives = new Int32Array(slots);
    this.#requests = new Int32Array(slots);
    this.#tokens = new Float64Array(slots);
    this.#unseen = new Float64Array(slots);
    this.#sentAtMs = new Float64Array(slots);
    this.#shownUntilMs = new Float64Array(slots);
  }

  own(slot: number, unseen: number): OwnLoad {
    return {
      requests: this.#ownRequests[slot]!,
      tokens: this.#ownTokens[slot]!,
      unseen,
      prefillTokens: this.#ownPrefill[slot]!,
      life: this.#lives[slot]!,
    };
  }

  /** Dispatches that no sample has shown, given this object's own. */
  unseen(slot: number, own: number): number {
    return own * this.#factor + this.#unseen[slot]!;
  }

  dispatched(slot: number, tokens: number): void {
    this.#ownRequests[slot]! += 1;
    this.#ownTokens[slot]! += tokens;
    this.#add(slot, this.#factor, tokens * this.#factor);
  }

  released(slot: number, tokens: number): void {
    this.#ownRequests[slot] = Math.max(0, this.#ownRequests[slot]! - 1);
    this.#ownTokens[slot] = Math.max(0, this.#ownTokens[slot]! - tokens);
    this.#add(slot, -this.#factor, -tokens * this.#factor);
  }

  /** Prefill was sent there, or, below 0, taken back. */
  worked(slot: number, tokens: number): void {
    this.#ownPrefill[slot]! += tokens;
  }

  /** In the place of what was told before; undefined where nothing is known any more. */
  setOthers(slot: number, load: OthersLoad | undefined, nowMs: number): void {
    const { requests, tokens, unseen, ageMs = 0 } = load ?? NONE;
    const sentAtMs = nowMs - atLeast0(ageMs);
    const now = { requests: Math.trunc(atLeast0(requests)), tokens: atLeast0(tokens) };
    this.#add(slot, now.requests - this.#requests[slot]!, now.tokens - this.#tokens[slot]!);
    this.#requests[slot] = now.requests;
    this.#tokens[slot] = now.tokens;
    // It may have been under way for longer than the engine's next sample.
    this.#unseen[slot] = sentAtMs <= this.#shownUntilMs[slot]! ? 0 : atLeast0(unseen);
    this.#sentAtMs[slot] = sentAtMs;
  }

  /** How many objects there are, where nothing is known of the others; else 1. True if it has changed. */
  setFactor(factor: number): boolean {
    const before = this.#factor;
    this.#factor = Math.max(1, factor);
    if (this.#factor === before) return false;
    const more = this.#factor - before;
    for (let slot = 0; slot < this.#ownRequests.length; slot++)
      this.#add(slot, this.#ownRequests[slot]! * more, this.#ownTokens[slot]! * more);
    return true;
  }

  /** A sample has shown what had reached the engine by then. */
  sampled(slot: number, untilMs: number): void {
    this.#shownUntilMs[slot] = untilMs;
    if (this.#sentAtMs[slot]! <= untilMs) this.#unseen[slot] = 0;
  }

  /** What was sent to it until then, in Unix ms, is in its last sample. */
  shownUntilMs(slot: number): number {
    return this.#shownUntilMs[slot]!;
  }

  /** The slot is another endpoint's. */
  clear(slot: number): void {
    this.#ownRequests[slot] = 0;
    this.#ownTokens[slot] = 0;
    this.#ownPrefill[slot] = 0;
    this.#lives[slot]! += 1;
    this.#requests[slot] = 0;
    this.#tokens[slot] = 0;
    this.#unseen[slot] = 0;
    this.#sentAtMs[slot] = 0;
    this.#shownUntilMs[slot] = 0;
    this.#columns.inFlightRequests[slot] = 0;
    this.#columns.inFlightTokens[slot] = 0;
  }

  #add(slot: number, requests: number, tokens: number): void {
    const { inFlightRequests, inFlightTokens } = this.#columns;
    inFlightRequests[slot] = Math.max(0, inFlightRequests[slot]! + requests);
    inFlightTokens[slot] = Math.max(0, inFlightTokens[slot]! + tokens);
  }
}

/** Whatever is no number is none. */
function atLeast0(value: number): number {
  return value > 0 && value < Infinity ? value : 0;
}
