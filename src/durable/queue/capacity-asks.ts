// Which of the Workers that wait for a pool without endpoints asks for some: one, and now and then another.

/** Of a pool without endpoints, between two Workers that ask for capacity. */
export const CAPACITY_ASK_MS = 30_000;

export class CapacityAsks {
  #askedAtMs = -Infinity;

  isDue(nowMs: number): boolean {
    return nowMs - this.#askedAtMs >= CAPACITY_ASK_MS;
  }

  /** Whether whoever is answered now is to ask. */
  ask(nowMs: number): boolean {
    const isAsked = this.isDue(nowMs);
    if (isAsked) this.#askedAtMs = nowMs;
    return isAsked;
  }
}
