// Whether one configuration is better than another, by what is predicted of both.

import type { BeforeAndAfter, Verdict, WhatIfReport } from "./report.ts";

/** Differences that are no reason. */
export interface Margins {
  /** Of the figure before. */
  readonly share: number;
  /** In addition, for times. */
  readonly ms: number;
}

/** A prediction is not more exact than this. */
export const DEFAULT_MARGINS: Margins = { share: 0.05, ms: 5 };

/** Refusals are not predicted but decided: a thousandth more is a reason, and of few decisions two. */
const REFUSALS_ROOM = { share: 0.001, min: 1 } as const;

type Figures = Pick<
  WhatIfReport,
  "decisions" | "refused" | "promptTokens" | "hitTokens" | "ttftP50Ms" | "ttftP90Ms"
>;

/**
 * Worse where the median or the 90th percentile of the predicted time to first token rises by more
 * than the margin, more requests are refused, or fewer tokens are found in caches. Better where one
 * of the two times falls by more than the margin and nothing is worse. A refused request has an
 * infinite time: a configuration does not get faster by refusing what is slow.
 */
export function judge(
  figures: Figures,
  margins: Margins = DEFAULT_MARGINS,
): { readonly verdict: Verdict; readonly reasons: string[] } {
  const { decisions, refused, promptTokens, hitTokens } = figures;
  if (decisions === 0) return { verdict: "unknown", reasons: ["there is no decision to compare"] };
  const times = [
    { name: "the median predicted time to first token", ...figures.ttftP50Ms },
    { name: "the 90th percentile of the predicted time to first token", ...figures.ttftP90Ms },
  ];
  const worse: string[] = [];
  const better: string[] = [];
  for (const { name, before, after } of times) {
    const room = Number.isFinite(before) ? before * margins.share + margins.ms : 0;
    const change = `${name} goes from ${ms(before)} to ${ms(after)}`;
    if (after - before > room) worse.push(change);
    if (before - after > room) better.push(change);
  }
  const lostHits = hitTokens.before - hitTokens.after;
  if (lostHits > margins.share * promptTokens)
    worse.push(`${percent(lostHits / promptTokens)} of prompt tokens lose their cache`);
  if (isMore(refused, Math.max(REFUSALS_ROOM.min, REFUSALS_ROOM.share * decisions)))
    worse.push(`${refused.after} requests are refused, and were ${refused.before}`);
  if (worse.length > 0) return { verdict: "worse", reasons: worse };
  return better.length > 0
    ? { verdict: "better", reasons: better }
    : { verdict: "equal", reasons: ["no figure differs by more than the margin"] };
}

function isMore({ before, after }: BeforeAndAfter, room: number): boolean {
  return after - before > room;
}

function ms(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(0)} ms` : "a refusal";
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
