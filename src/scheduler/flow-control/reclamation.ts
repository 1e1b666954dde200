// Ending requests that were let through, for one of a higher priority that waits behind a full pool.
//
//   victims = ceil((saturation − ceiling) / (saturation / in flight)), at least 1, at most VICTIMS_MAX
//             1 where the saturation is Infinity: nothing is measured, the owner can track no more requests
//             0 while the pool is not at its ceiling by fresh samples alone
//   then nobody until all of them have ended, or for CONFIRM_MS; and until the detector sees their room
//
// A stale endpoint counts as full, so nothing is sent to where nobody looks. But it would go on counting as
// full whoever was ended: a pool that has lost its collector would end all its sheddable requests, for
// room that nobody can show. A request too many to track is another matter: each end is room for one.
//
// Stop and wait: a detector that lags would have us end more and more requests for room that is there
// already. Only requests that have not emitted a byte are ended, so nobody's answer breaks off.
//
// Source: llm-d-router pkg/epp/flowcontrol/controller/internal/reclamation.go, which also resets streams
// that have begun, and takes a stale sample for a full pool.

import type { InFlight, InFlightRequest } from "./in-flight.ts";

export const VICTIMS_MAX = 2;
/** How long an end may take to be told. */
export const CONFIRM_MS = 10_000;

/** Somebody waits, and is held back. */
export interface HeldBand {
  readonly priority: number;
  readonly saturation: number;
  readonly ceiling: number;
}

/** The pool as it is when somebody may be ended. */
export interface ReclamationConditions {
  /** From the end of a request until the detector sees its room, at most. */
  readonly lagMs: number;
  /** See SaturationMeter.freshSaturation. Asked only where somebody is to be ended. */
  readonly freshSaturation: () => number;
}

/** Since the pool's queue began. */
export interface RevocationCounts {
  readonly issued: number;
  readonly ended: number;
  /** It had emitted a byte by then. */
  readonly spared: number;
  /** Nobody has told of its end within CONFIRM_MS. */
  readonly untold: number;
}

export class Reclamation {
  readonly #asked = new Set<string>();
  readonly #counts = { issued: 0, ended: 0, spared: 0, untold: 0 };
  #askedAtMs = 0;
  /** Unix ms; nobody is ended before. */
  #restUntilMs = -Infinity;
  #lagMs = 0;

  victims(
    held: HeldBand,
    inFlight: InFlight,
    nowMs: number,
    conditions: ReclamationConditions,
  ): InFlightRequest[] {
    this.#lagMs = conditions.lagMs;
    if (this.#asked.size > 0 && nowMs - this.#askedAtMs >= CONFIRM_MS) this.#rest(nowMs);
    const mayAsk = this.#asked.size === 0 && nowMs >= this.#restUntilMs;
    if (!mayAsk || held.ceiling <= 0 || inFlight.evictableCount === 0) return [];
    if (!isKnownFull(held, conditions)) return [];
    const chosen: InFlightRequest[] = [];
    for (let left = victimCount(held, inFlight.size); left > 0; left--) {
      const victim = inFlight.victim;
      if (victim === undefined || victim.request.priority >= held.priority) break;
      inFlight.protect(victim);
      this.#asked.add(victim.key);
      this.#counts.issued += 1;
      chosen.push(victim);
    }
    this.#askedAtMs = nowMs;
    return chosen;
  }

  get counts(): RevocationCounts {
    return { ...this.#counts };
  }

  /** To be told of every request that ends. True for one whose end was asked for. */
  ended(key: string, nowMs: number): boolean {
    if (!this.#asked.delete(key)) return false;
    this.#counts.ended += 1;
    if (this.#asked.size === 0) this.#rest(nowMs);
    return true;
  }

  /** It had emitted a byte before its end was asked for: another may be asked for at once. */
  spared(key: string): void {
    if (this.#asked.delete(key)) this.#counts.spared += 1;
  }

  #rest(nowMs: number): void {
    this.#counts.untold += this.#asked.size;
    this.#asked.clear();
    this.#restUntilMs = nowMs + this.#lagMs;
  }
}

/** Not `<`: a saturation that is no number shows nothing. */
function isKnownFull(held: HeldBand, { freshSaturation }: ReclamationConditions): boolean {
  return held.saturation === Infinity || freshSaturation() >= held.ceiling;
}

function victimCount({ saturation, ceiling }: HeldBand, inFlightCount: number): number {
  if (saturation === Infinity) return 1;
  const shareOfOne = saturation / Math.max(1, inFlightCount);
  const wanted = shareOfOne === 0 ? 1 : Math.ceil((saturation - ceiling) / shareOfOne);
  return Math.min(VICTIMS_MAX, Math.max(1, wanted));
}
