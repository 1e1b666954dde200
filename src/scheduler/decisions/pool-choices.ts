// Among which pools a request was chosen, as its Worker said with the pick. It is told with the decision's
// record, and kept beside the records: it is no part of the decision, and a replay needs none of it.

import type { PoolCandidate } from "../pools/contracts.ts";

/** Requests, and candidates over all of them: about 300 bytes each. The oldest go for new ones. */
export const POOL_CHOICES_LIMITS = {
  requestsMax: 2_048,
  candidatesMax: 4_096,
  /** Of one request; later ones are left out. */
  candidatesPerRequestMax: 8,
  termsPerCandidateMax: 16,
  nameCharsMax: 64,
} as const;

const { requestsMax, candidatesMax, candidatesPerRequestMax } = POOL_CHOICES_LIMITS;

/** The latest choices. */
export class PoolChoices {
  /** By request id, oldest first. */
  readonly #byRequest = new Map<string, readonly PoolCandidate[]>();
  #candidateCount = 0;

  get size(): number {
    return this.#byRequest.size;
  }

  /** Takes the place of an earlier one about the same request. */
  add(requestId: string, candidates: readonly PoolCandidate[]): void {
    this.#forget(requestId);
    const kept = candidates.slice(0, candidatesPerRequestMax).map(bounded);
    this.#byRequest.set(requestId, kept);
    this.#candidateCount += kept.length;
    while (this.#byRequest.size > requestsMax || this.#candidateCount > candidatesMax) {
      const [oldest] = this.#byRequest.keys();
      this.#forget(oldest!);
    }
  }

  find(requestId: string): readonly PoolCandidate[] | undefined {
    return this.#byRequest.get(requestId);
  }

  #forget(requestId: string): void {
    const known = this.#byRequest.get(requestId);
    if (known === undefined) return;
    this.#candidateCount -= known.length;
    this.#byRequest.delete(requestId);
  }
}

function bounded({ pool, tier, state, terms, costMs }: PoolCandidate): PoolCandidate {
  const { nameCharsMax, termsPerCandidateMax } = POOL_CHOICES_LIMITS;
  const short = (text: string) => text.slice(0, nameCharsMax);
  const kept = Object.entries(terms).slice(0, termsPerCandidateMax);
  return {
    pool: short(pool),
    tier,
    state: short(state),
    terms: Object.fromEntries(kept.map(([name, value]) => [short(name), value])),
    costMs,
  };
}
