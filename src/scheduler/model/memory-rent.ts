// What KV memory is worth that a request takes from others: dear where it is scarce, cheap where it is not.
//
//   price = k² / (1 − k)       k = share of the memory that is in use
//
// Source: SMG's least_load has the barrier k / (1 − k); the square keeps memory that is half empty cheap.

/** Fullness from which memory is as dear as it gets; where all are full, the other terms of a cost decide. */
const FULL = 0.98;
/** KV memory of an engine that does not tell. */
const UNKNOWN_CAPACITY_TOKENS = 262_144;

/** Of memory that is in use to `full`, 0 and up. */
export function memoryPrice(full: number): number {
  const k = Math.min(FULL, full);
  return (k * k) / (1 - k);
}

/** Tokens, 0 while unknown, as a number to reckon with. */
export function capacityTokens(told: number): number {
  return told || UNKNOWN_CAPACITY_TOKENS;
}
