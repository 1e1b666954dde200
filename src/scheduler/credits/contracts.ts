// Credits: what somebody may do without asking first, and until when.
//
//   holder ── CreditAsk: what it has spent, what it wants ──▶ issuer
//   holder ◀── CreditGrant: what it may have spent in all ─── issuer
//
// Both say totals, so a message that is lost, late or doubled does no harm: the one with the highest number
// counts. Clocks are not compared: a holder reckons a grant's end from the moment at which it asked for it,
// the issuer from the moment at which it granted it, so the holder always stops first.
//
// The bound: what is let through in a scope never exceeds what its issuer allows by more than the credits
// outstanding, that is granted, not known to be spent, and not expired at the holder.

/** A holder's word to the issuer of a scope. */
export interface CreditAsk {
  /** What the credit is for, e.g. `pool/llama-eu`: of a pool, a token is one request. */
  readonly scope: string;
  /** Random at each start of the holder: one that begins anew is another. */
  readonly holder: string;
  /** Of the last grant; "" before the first. */
  readonly epoch: string;
  /** Tokens that the holder has spent in that epoch, in all. */
  readonly spent: number;
  /** Tokens that it would like to have at hand. */
  readonly want: number;
  /**
   * Number of the grant that it goes by: it takes no earlier one any more, and `spent` has what it has spent under those.
   * Absent before the first grant of the epoch, while that cannot be said, and before 2026-11-22.
   */
  readonly taken?: number;
}

/** An issuer's word to one holder. */
export interface CreditGrant {
  readonly scope: string;
  /** Random at each start of the issuer: grants of another one say nothing about each other. */
  readonly epoch: string;
  /** Rises with every grant to the holder. */
  readonly seq: number;
  /** Tokens that the holder may have spent in this epoch, in all. May fall. */
  readonly limit: number;
  /** From the moment at which the ask was sent. */
  readonly ttlMs: number;
}
