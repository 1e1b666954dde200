// Whether endpoints are sent more than their bound, and by how much beside the credit that is outstanding.

export interface BoundFigures {
  /** Requests over an endpoint's bound, at most. */
  readonly overshoot: number;
  /** Credit outstanding at a time, at most: requests of all isolates together. */
  readonly outstanding: number;
  /** Decisions after which an endpoint was over its bound by more than all credit that was outstanding lately. */
  readonly violations: number;
}

/** Credit counts for so long: what was let through by it may be under way. */
const LATELY_MS = 30_000;

export class BoundWatch {
  readonly #bound: number;
  readonly #outstanding: () => number;
  readonly #underWay: Int32Array;
  /** Maxima of halves of LATELY_MS. */
  #newer = 0;
  #older = 0;
  #turnsAtMs = 0;
  #overshoot = 0;
  #most = 0;
  #violations = 0;

  /** Infinity: endpoints have no bound. */
  constructor(bound: number, endpointCount: number, outstanding: () => number) {
    this.#bound = bound;
    this.#outstanding = outstanding;
    this.#underWay = new Int32Array(endpointCount);
  }

  get figures(): BoundFigures {
    return {
      overshoot: this.#overshoot,
      outstanding: this.#most,
      violations: this.#violations,
    };
  }

  /** A request is decided on: it goes to `slot`. */
  sent(slot: number, nowMs: number): void {
    this.#underWay[slot]! += 1;
    const lately = this.#lately(nowMs);
    const over = this.#underWay[slot]! - this.#bound;
    this.#overshoot = Math.max(this.#overshoot, over);
    if (over > lately) this.#violations += 1;
  }

  ended(slot: number): void {
    this.#underWay[slot]! -= 1;
  }

  /** The most credit that has been outstanding, as far as decisions have seen it. */
  #lately(nowMs: number): number {
    if (nowMs >= this.#turnsAtMs) {
      this.#older = this.#newer;
      this.#newer = 0;
      this.#turnsAtMs = nowMs + LATELY_MS / 2;
    }
    const outstanding = this.#outstanding();
    this.#newer = Math.max(this.#newer, outstanding);
    this.#most = Math.max(this.#most, outstanding);
    return Math.max(this.#newer, this.#older);
  }
}
