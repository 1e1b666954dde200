// What a comparison of two configurations says, as data.

/** A figure under the configuration that decided, and under the other. */
export interface BeforeAndAfter {
  readonly before: number;
  readonly after: number;
}

export interface Disagreement {
  readonly requestId: string;
  readonly attempt: number;
  /** Addresses; null: refused. */
  readonly before: string | null;
  readonly after: string | null;
  /** null where it was refused. */
  readonly ttftMsBefore: number | null;
  readonly ttftMsAfter: number | null;
}

/** How well the prediction fits what happened, under the configuration that decided. */
export interface Calibration {
  /** Decisions whose time to first token was measured. */
  readonly decisions: number;
  readonly predictedP50Ms: number | null;
  readonly measuredP50Ms: number | null;
  readonly predictedP90Ms: number | null;
  readonly measuredP90Ms: number | null;
  /** Median of |predicted − measured|. */
  readonly errorP50Ms: number | null;
}

export const VERDICTS = ["better", "equal", "worse", "unknown"] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface WhatIfReport {
  readonly pool: string;
  /** Decisions that both configurations took. */
  readonly decisions: number;
  readonly oldestAtMs: number | null;
  readonly newestAtMs: number | null;
  /** Of the configuration that decided. More than one where it was changed in between. */
  readonly configVersions: { readonly oldest: number; readonly newest: number } | null;
  readonly refused: BeforeAndAfter;
  /** Decisions whose first choice differs, or that one of them refuses. */
  readonly disagreements: number;
  readonly examples: readonly Disagreement[];
  readonly promptTokens: number;
  readonly hitTokens: BeforeAndAfter;
  /** Of all decisions. Infinity where that one is a refusal, which is null in JSON. */
  readonly ttftP50Ms: BeforeAndAfter;
  readonly ttftP90Ms: BeforeAndAfter;
  /** Requests of the endpoint that got most, over the mean of the endpoints that were candidates. */
  readonly imbalance: BeforeAndAfter;
  readonly calibration: Calibration;
  /** What replays could not know, and of how many decisions. */
  readonly notes: readonly { readonly text: string; readonly decisions: number }[];
  readonly verdict: Verdict;
  /** Sentences behind the verdict. */
  readonly reasons: readonly string[];
}
