// What a Rekeyer could not follow.

/** Blocks announced or removed that could not be followed, by cause, since the beginning. */
export interface RekeyerCounts {
  /** Stored behind a parent that is not known, or is of another adapter. */
  orphaned: number;
  /** Named without tokens, or removed, and not known or not held. */
  unknown: number;
  /** Of a tier that is not the endpoint's own, or has no name here. */
  otherTier: number;
  /** Of a cache group that is not indexed. */
  otherGroup: number;
  /** Their tokens are not as many as their blocks have. */
  uneven: number;
  /** The same hash stood for other tokens before. */
  conflicting: number;
  /** Not taken up, because the bytes, adapters or announcements were used up. */
  leftOut: number;
  /** With media whose place the engine does not tell: followed, and matched by no prompt. */
  unplaced: number;
}

export function noCounts(): RekeyerCounts {
  return {
    orphaned: 0,
    unknown: 0,
    otherTier: 0,
    otherGroup: 0,
    uneven: 0,
    conflicting: 0,
    leftOut: 0,
    unplaced: 0,
  };
}
