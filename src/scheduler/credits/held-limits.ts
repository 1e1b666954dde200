// The limits that one holder of credits may still go by, as its issuer knows it.
//
//   number    4     7     9       of the last grant that gave it
//   limit    30    18    12       falls: a lower one takes the place of none before it
//   ends     t₁    t₂    t₃       rises
//
// A lower limit may not have arrived, so the first counts: until it has ended, or until the holder says that it
// goes by a grant with a higher number. It takes no earlier one any more then.

/** Of more, the last two are taken for one: with the higher limit, the later end and the higher number. */
const LIMITS_MAX = 4;

interface Limit {
  /** Of the last grant that gave it. */
  readonly seq: number;
  readonly limit: number;
  /** In ms of the issuer's clock. */
  readonly endsMs: number;
}

export class HeldLimits {
  readonly #limits: Limit[] = [];

  /** Adds a grant, which has the highest number and ends last. */
  add(granted: Limit): void {
    const limits = this.#limits;
    while (limits.length > 0 && limits.at(-1)!.limit <= granted.limit) limits.pop();
    limits.push(granted);
    if (limits.length <= LIMITS_MAX) return;
    const last = limits.pop()!;
    limits.push({ ...last, limit: limits.pop()!.limit });
  }

  /** The holder goes by the grant of that number, and has told what it has spent under those before. */
  taken(seq: number): void {
    while (this.#limits.length > 1 && this.#limits[0]!.seq < seq) this.#limits.shift();
  }

  /** The highest that the holder may go by; 0 without one. */
  highest(nowMs: number): number {
    while (this.#limits.length > 0 && nowMs >= this.#limits[0]!.endsMs) this.#limits.shift();
    return this.#limits[0]?.limit ?? 0;
  }
}
