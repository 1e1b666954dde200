// What runs on each endpoint, where several objects send requests to the same ones: this object's own,
// and what it was told last of the others'.
//
//   load = own × factor + others
//
// Usually the factor is 1. An object that hears nothing of the others takes each of them to do as much as it
// does itself: missing is worse, never idle.

/** Of one endpoint, of all other objects together. */
export interface OthersLoad {
  readonly requests: number;
  readonly tokens: number;
  /** Dispatches that no sample of the engine had shown them. */
  readonly unseen: number;
}

/** Of `slots` endpoints. */
export class SharedLoads {
  readonly ownRequests: Int32Array;
  readonly ownTokens: Float64Array;
  /** Prefill sent there, in ms of its engine: a total that only rises. */
  readonly ownWorkMs: Float64Array;
  readonly #requests: Float64Array;
  readonly #tokens: Float64Array;
  readonly #unseen: Float64Array;
  /** Unix ms at which others were heard of last. */
  readonly #heardAtMs: Float64Array;
  #factor = 1;

  constructor(slots: number) {
    this.ownRequests = new Int32Array(slots);
    this.ownTokens = new Float64Array(slots);
    this.ownWorkMs = new Float64Array(slots);
    this.#requests = new Float64Array(slots);
    this.#tokens = new Float64Array(slots);
    this.#unseen = new Float64Array(slots);
    this.#heardAtMs = new Float64Array(slots);
  }

  get factor(): number {
    return this.#factor;
  }

  /** How many objects there are, where nothing is known of the others; else 1. */
  setFactor(factor: number): void {
    this.#factor = Math.max(1, factor);
  }

  requests(slot: number): number {
    return this.ownRequests[slot]! * this.#factor + this.#requests[slot]!;
  }

  tokens(slot: number): number {
    return this.ownTokens[slot]! * this.#factor + this.#tokens[slot]!;
  }

  /** Dispatches that no sample has shown, given this object's own. */
  unseen(slot: number, own: number): number {
    return own * this.#factor + this.#unseen[slot]!;
  }

  dispatched(slot: number, tokens: number, workMs: number): void {
    this.ownRequests[slot]! += 1;
    this.ownTokens[slot]! += tokens;
    this.ownWorkMs[slot]! += workMs;
  }

  released(slot: number, tokens: number): void {
    this.ownRequests[slot] = Math.max(0, this.ownRequests[slot]! - 1);
    this.ownTokens[slot] = Math.max(0, this.ownTokens[slot]! - tokens);
  }

  /** In the place of what was told before. */
  setOthers(slot: number, load: OthersLoad, nowMs: number): void {
    this.#requests[slot] = atLeast0(load.requests);
    this.#tokens[slot] = atLeast0(load.tokens);
    this.#unseen[slot] = atLeast0(load.unseen);
    this.#heardAtMs[slot] = nowMs;
  }

  /** A sample has shown what had reached the engine by then. */
  sampled(slot: number, untilMs: number): void {
    // What was told then had been sent before: all of it is in the sample, or none.
    if (this.#heardAtMs[slot]! <= untilMs) this.#unseen[slot] = 0;
  }

  /** The slot is another endpoint's. The total goes on: whoever was told of it reckons with differences. */
  clear(slot: number): void {
    this.ownRequests[slot] = 0;
    this.ownTokens[slot] = 0;
    this.#requests[slot] = 0;
    this.#tokens[slot] = 0;
    this.#unseen[slot] = 0;
    this.#heardAtMs[slot] = 0;
  }
}

/** Whatever is no number is none. */
function atLeast0(value: number): number {
  return value > 0 && value < Infinity ? value : 0;
}
