// How fast each engine is, learned from requests that have ended.
//
//   prefill   = (time to first token − OVERHEAD_MS) / tokens computed before it    median
//   transfer  = (time from the end of a prefill elsewhere to the first token − TRANSFER_OVERHEAD_MS)
//               / tokens handed over                                                median
//   service   = time from the first token to the end                               mean
//
// A median is followed by steps of a fixed ratio: up by a step when a request was slower than
// believed, down when it was faster. One outlier moves it by one step, whatever its size. Steps begin large
// and shrink with each request. Requests too short to tell, those that waited for memory
// and not for compute, and those behind work that is mostly hearsay, teach nothing.
//
// An endpoint nobody has learned about has the pool's numbers, so a new one neither attracts nor repels;
// a pool nobody has learned about has those of a common GPU.
//
// Source: the physics of prefill in docs/architecture.md, "The default profile". It misleads where a
// cache is far better or worse than the router believes and the engine does not report cached tokens.

/**
 * Until the first requests end: 10,000 tokens a second, and ten seconds of answer. A token's blocks of a model
 * of 80 layers with 8 KV heads of 128 (Llama 70B) have 2 × 2 × 80 × 8 × 128 = 327,680 bytes in 16 bits: 0.02 ms
 * are 16 GB/s, two thirds of a link of 200 Gb/s.
 */
export const UNLEARNED = {
  prefillMsPerToken: 0.1,
  transferMsPerToken: 0.02,
  serviceMs: 10_000,
} as const;

/** What may be learned; beyond it a clock or a report was wrong. */
export const SPEED_LIMITS = {
  prefillMsPerTokenMin: 0.001,
  prefillMsPerTokenMax: 10,
  serviceMsMax: 600_000,
  transferMsPerTokenMin: 0.000_1,
  transferMsPerTokenMax: 10,
} as const;

/** Of a time to first token, what is neither waiting nor prefill: the network, and the step under way. */
export const OVERHEAD_MS = 40;
/** Of a hand-over between two engines, what does not grow with the prompt: one more request, and one more step. */
export const TRANSFER_OVERHEAD_MS = 40;
/** Fewer tokens take about as long as the overhead, and say nothing. */
const WORK_TOKENS_MIN = 1_024;
/**
 * Of the work, what may be known from other objects alone. Prompts of little work of their own are taken for long ones
 * just where too much is taken to be ahead, and would teach that the engine is fast.
 */
const HEARD_SHARE_MAX = 1 / 4;
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
  /** Of them, those of other objects that were told of; see Dispatched. None where absent. */
  readonly heardTokens?: number | undefined;
  /** It had to wait for memory, as far as was known. */
  readonly isHeld: boolean;
}

/** A prompt that one endpoint has computed and another one has answered. */
export interface HandOver {
  /** From the end of the prefill to the first token. */
  readonly transferMs: number;
  /** Those that were not cached where it was answered. */
  readonly tokens: number;
}

/** One estimate of each endpoint, and one of the pool behind the last. */
interface Learned {
  readonly values: Float64Array;
  /** What each has been learned from. */
  readonly counts: Uint32Array;
}

function createLearned(slots: number, unlearned: number): Learned {
  const values = new Float64Array(slots + 1).fill(unlearned);
  return { values, counts: new Uint32Array(slots + 1) };
}

/** Of `slots` endpoints. */
export class EngineSpeeds {
  readonly prefillMsPerToken: Float64Array;
  readonly transferMsPerToken: Float64Array;
  readonly serviceMs: Float64Array;
  readonly #prefill: Learned;
  readonly #transfer: Learned;
  readonly #service: Learned;
  readonly #pool: number;
  /** Of the slots that anything was said of: no more are looked at for a request. */
  #slotsEnd = 0;

  constructor(slots: number) {
    this.#pool = slots;
    this.#prefill = createLearned(slots, UNLEARNED.prefillMsPerToken);
    this.#transfer = createLearned(slots, UNLEARNED.transferMsPerToken);
    this.#service = createLearned(slots, UNLEARNED.serviceMs);
    this.prefillMsPerToken = this.#prefill.values;
    this.transferMsPerToken = this.#transfer.values;
    this.serviceMs = this.#service.values;
  }

  /** Whether any request has taught it: until then its numbers are UNLEARNED. */
  isLearned(of: "prefill" | "service"): boolean {
    const { counts } = of === "prefill" ? this.#prefill : this.#service;
    return counts[this.#pool]! > 0;
  }

  /** The slot is another endpoint's from now on: it begins with what the pool has learned. */
  clear(slot: number): void {
    this.#slotsEnd = Math.max(this.#slotsEnd, slot + 1);
    for (const { values, counts } of [this.#prefill, this.#transfer, this.#service]) {
      counts[slot] = 0;
      values[slot] = values[this.#pool]!;
    }
  }

  observe(slot: number, observation: SpeedObservation): void {
    const { ttftMs, decodeMs, workTokens, heardTokens = 0, isHeld } = observation;
    const isSure = !isHeld && heardTokens <= HEARD_SHARE_MAX * workTokens;
    if (ttftMs !== null && isSure && workTokens >= WORK_TOKENS_MIN) {
      const msPerToken = Math.max(0, ttftMs - OVERHEAD_MS) / workTokens;
      const { prefillMsPerTokenMin: min, prefillMsPerTokenMax: max } = SPEED_LIMITS;
      this.#learnMedian(this.#prefill, slot, { observed: msPerToken, min, max });
    }
    if (decodeMs === null || decodeMs <= 0) return;
    this.#learnService(this.#pool, decodeMs);
    this.#learnService(slot, decodeMs);
    this.#share(this.#service, slot);
  }

  /** `slot` has answered what another endpoint had computed. */
  handedOver(slot: number, { transferMs, tokens }: HandOver): void {
    if (tokens < WORK_TOKENS_MIN) return;
    const observed = Math.max(0, transferMs - TRANSFER_OVERHEAD_MS) / tokens;
    const { transferMsPerTokenMin: min, transferMsPerTokenMax: max } = SPEED_LIMITS;
    this.#learnMedian(this.#transfer, slot, { observed, min, max });
  }

  /** Of the slot and of the pool. */
  #learnMedian(
    learned: Learned,
    slot: number,
    {
      observed,
      min,
      max,
    }: { readonly observed: number; readonly min: number; readonly max: number },
  ): void {
    const { values, counts } = learned;
    for (const at of [this.#pool, slot]) {
      const believed = values[at]!;
      const count = (counts[at]! += 1);
      const step = 1 + Math.max(LAST_STEP, FIRST_STEP / count);
      const next = observed > believed ? believed * step : believed / step;
      values[at] = Math.min(max, Math.max(min, next));
    }
    this.#share(learned, slot);
  }

  #learnService(at: number, decodeMs: number): void {
    const { values, counts } = this.#service;
    const count = (counts[at]! += 1);
    const share = Math.max(SERVICE_SHARE, 1 / count);
    const bounded = Math.min(SPEED_LIMITS.serviceMsMax, decodeMs);
    values[at]! += share * (bounded - values[at]!);
  }

  /** Endpoints that have served nothing yet follow the pool, which `slot` has taught. */
  #share({ values, counts }: Learned, slot: number): void {
    this.#slotsEnd = Math.max(this.#slotsEnd, slot + 1);
    const believed = values[this.#pool]!;
    for (let at = 0; at < this.#slotsEnd; at++) if (counts[at] === 0) values[at] = believed;
  }
}
