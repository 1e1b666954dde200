/**
 * Of pool-cost-scorer and pool-spread-picker where a configuration says nothing: by these credits.ts reckons
 * what other isolates do.
 */
export const COST_DEFAULTS = {
  /** Cost at which the score is a half. */
  scaleMs: 100,
  /** Times that a request goes to the pool and back before its first byte. */
  roundTrips: 2,
  /** Power of the score that chances are in proportion to. */
  sharpness: 20,
} as const;
