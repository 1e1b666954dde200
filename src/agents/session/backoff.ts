// Full-jitter exponential backoff: random in [0, min(cap, base × 2^attempt)).

import type { Rng } from "../../scheduler/support/rng.ts";

export interface BackoffLimits {
  readonly baseMs: number;
  readonly capMs: number;
}

/** How long to wait before attempt `attempt` (0 for the first retry). */
export function backoffMs(limits: BackoffLimits, attempt: number, rng: Rng): number {
  // Past 2^30 the cap has long been reached; a larger exponent would overflow to Infinity.
  const ceiling = Math.min(limits.capMs, limits.baseMs * 2 ** Math.min(attempt, 30));
  return rng() * ceiling;
}
