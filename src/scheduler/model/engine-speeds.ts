// How fast each engine is, learned from requests that have ended.
//
//   prefill   = (time to first token − OVERHEAD_MS) / tokens computed before it    median
//   service   = time from the first token to the end                               mean
//
// The first is a median, followed by steps of a fixed ratio: up by a step when a request was slower than
// believed, down when it was faster. One outlier moves it by one step, whatever its size. Steps begin large
// and shrink with each request. Requests too short to tell, and those that waited for memory
// and not for compute, teach nothing.
//
// An endpoint nobody has learned about has the pool's numbers, so a new one neither attracts nor repels;
// a pool nobody has learned about has those of a common GPU.
//
// Source: the physics of prefill in docs/architecture.md, "The default profile". It misleads where a
// cache is far better or worse than the router believes and the engine does not report cached tokens.

/** Until the first requests end: 10,000 tokens a second, and ten seconds of answer. */
export const UNLEARNED = { prefillMsPerToken: 0.1, serviceMs: 10_000 } as const;

/** What may be learned; beyond it a clock or a report was wrong. */
export const SPEED_LIMITS = {
  prefillMsPerTokenMin: 0.001,
  prefillMsPerTokenMax: 10,
  serviceMsMax: 600_000,
} as const;

/** Of a time to first token, what is neither waiting nor prefill: the network, and the step under way. */
export const OVERHEAD_MS = 40;
/** Fewer tokens take about as long as the overhead, and say nothing. */
const WORK_TOKENS_MIN = 1_024;
const FIRST_STEP = 0.3;
const LAST_STEP = 0.02;
/** Of the mean; the first requests count more. */
const SERVICE_SHARE = 0.05;

/** A request that has ended well. Null for what is not known. */
export interface SpeedObservation {
  /** From the relay's receipt of the request. */
  readonly ttftMs: number | null;
  /** From the first token to the last. */
  readonly decodeMs: number | null;
  /** Prompt tokens the engine computed between dispatch and first token: those before it, and its own. */
  readonly workTokens: number;
  /** It had to wait for memory, as far as was known. */
  readonly isHeld: boolean;
}

/** One estimate of a pool or an endpoint. */
interface Learned {
  readonly prefillMsPerToken: Float64Array;
  readonly serviceMs: Float64Array;
  readonly prefillCount: Uint32Array;
  readonly serviceCount: Uint32Array;
}

/** Of `slots` endpoints; the pool's own estimate is kept behind the last. */
export class EngineSpeeds implements Learned {
  readonly prefillMsPerToken: Float64Array;
  readonly serviceMs: Float64Array;
  readonly prefillCount: Uint32Array;
  readonly serviceCount: Uint32Array;
  readonly #pool: number;

  constructor(slots: number) {
    this.#pool = slots;
    this.prefillMsPerToken = new Float64Array(slots + 1).fill(UNLEARNED.prefillMsPerToken);
    this.serviceMs = new Float64Array(slots + 1).fill(UNLEARNED.serviceMs);
    this.prefillCount = new Uint32Array(slots + 1);
    this.serviceCount = new Uint32Array(slots + 1);
  }

  /** The slot is another endpoint's now: it begins with what the pool has learned. */
  clear(slot: number): void {
    this.prefillCount[slot] = 0;
    this.serviceCount[slot] = 0;
    this.prefillMsPerToken[slot] = this.prefillMsPerToken[this.#pool]!;
    this.serviceMs[slot] = this.serviceMs[this.#pool]!;
  }

  observe(slot: number, observation: SpeedObservation): void {
    const { ttftMs, decodeMs, workTokens, isHeld } = observation;
    if (ttftMs !== null && !isHeld && workTokens >= WORK_TOKENS_MIN) {
      const msPerToken = Math.max(0, ttftMs - OVERHEAD_MS) / workTokens;
      this.#learnPrefill(this.#pool, msPerToken);
      this.#learnPrefill(slot, msPerToken);
    }
    if (decodeMs !== null && decodeMs > 0) {
      this.#learnService(this.#pool, decodeMs);
      this.#learnService(slot, decodeMs);
    }
    this.#shareWithUnlearned();
  }

  #learnPrefill(at: number, msPerToken: number): void {
    const believed = this.prefillMsPerToken[at]!;
    const count = (this.prefillCount[at]! += 1);
    const step = 1 + Math.max(LAST_STEP, FIRST_STEP / count);
    const next = msPerToken > believed ? believed * step : believed / step;
    const { prefillMsPerTokenMin, prefillMsPerTokenMax } = SPEED_LIMITS;
    this.prefillMsPerToken[at] = Math.min(
      prefillMsPerTokenMax,
      Math.max(prefillMsPerTokenMin, next),
    );
  }

  #learnService(at: number, decodeMs: number): void {
    const count = (this.serviceCount[at]! += 1);
    const share = Math.max(SERVICE_SHARE, 1 / count);
    const bounded = Math.min(SPEED_LIMITS.serviceMsMax, decodeMs);
    this.serviceMs[at]! += share * (bounded - this.serviceMs[at]!);
  }

  /** Endpoints that have served nothing yet follow the pool. */
  #shareWithUnlearned(): void {
    const pool = this.#pool;
    for (let slot = 0; slot < pool; slot++) {
      if (this.prefillCount[slot] === 0)
        this.prefillMsPerToken[slot] = this.prefillMsPerToken[pool]!;
      if (this.serviceCount[slot] === 0) this.serviceMs[slot] = this.serviceMs[pool]!;
    }
  }
}
