// What a decision believed to be cached where its request went, and how that compares with what the engine
// reports.
//
//   matched content blocks      … │ m−1 │  m  │ m+1 │ …
//   where they end, in tokens            ▲     ▲     ▲
//   an engine that holds m reports             └─────┘          error = 0
//                                          +  ◄      ►  −       in tokens; right: |error| ≤ an average block
//
// A match is counted in whole content blocks, whose ends in tokens the collectors tell; the engine counts on
// to the end of its own last block within the next one. A content block may become many tokens: where a
// template puts tools behind a system message, all of them.
//
// An error counts against the source only where the other one would have served better: what an engine
// generated is in its cache and known to nobody until a prompt repeats it, and no source knows it sooner.
// What events claim and the engine does not have counts in any case.

import { CONTENT_BLOCK_BYTES, CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import type { TicketEnd } from "../tickets/ticket.ts";
import type { CachePrediction } from "./cache-prediction.ts";

/**
 * A request whose first byte took longer is not compared: what was cached when it was decided may be gone
 * when it is computed, and what was sent before it is there by then.
 */
export const COMPARED_TTFT_MS_MAX = 5_000;

/** Why a request is not compared. Closed set; a metric label. */
export type SkipReason =
  /** The engine did not tell, or nothing came of the request. */
  | "unreported"
  /** Another endpoint served, or one failed before. */
  | "elsewhere"
  /** The engine is another process, or the endpoint has left. */
  | "restarted"
  /** What was exact has become partial meanwhile: whoever tells of the endpoint is gone, or has missed something. */
  | "partial"
  | "waited"
  /** Nobody has told what tokens its content became. */
  | "unknown";

/** Closed set; a metric label. */
export type Verdict = "right" | "over" | "under";

export interface Comparison {
  readonly predictedTokens: number;
  /** What was predicted too much; negative: too little. */
  readonly errorTokens: number;
  readonly verdict: Verdict;
  /** It speaks against going by events. */
  readonly isCharged: boolean;
}

/** Where content ends in tokens, as it is known now; undefined where it is not. */
export type TokensUpTo = (blocks: number) => number | undefined;

/** How a request ended, with what its relay tells besides. */
export interface ServedEnd extends Pick<
  TicketEnd,
  "slot" | "isPromptCached" | "ttftMs" | "promptTokens" | "cachedTokens"
> {
  /** Endpoints that were tried before. */
  readonly failedCount: number;
}

/** What is known of an endpoint when a request that went there ends. */
interface KnownAtEnd {
  /** Of its cache. */
  readonly life: number;
  readonly isExact: boolean;
  readonly tokensUpTo: TokensUpTo;
}

export function compare(
  prediction: CachePrediction,
  end: ServedEnd,
  { life, isExact, tokensUpTo }: KnownAtEnd,
): Comparison | SkipReason {
  const { promptTokens, cachedTokens, ttftMs } = end;
  if (!end.isPromptCached || promptTokens === null || cachedTokens === null) return "unreported";
  if (end.slot !== prediction.slot || end.failedCount > 0) return "elsewhere";
  if (life !== prediction.life) return "restarted";
  if (!isExact) return "partial";
  if (ttftMs === null || ttftMs > COMPARED_TTFT_MS_MAX) return "waited";
  const predictedTokens = prediction.tokens ?? tokensUpTo(prediction.blocks);
  if (predictedTokens === undefined) return "unknown";
  const tolerance = blockTokens(promptTokens, prediction.totalBlocks);
  const spanOf = (blocks: number, from: number) => ({
    from,
    to: (blocks < prediction.totalBlocks ? tokensUpTo(blocks + 1) : undefined) ?? from + tolerance,
  });
  const errorTokens = distance(spanOf(prediction.blocks, predictedTokens), cachedTokens);
  const verdict = verdictOf(errorTokens, tolerance);
  const { approximateBlocks } = prediction;
  const approximateTokens = tokensUpTo(approximateBlocks) ?? approximateBlocks * tolerance;
  const otherError = distance(spanOf(approximateBlocks, approximateTokens), cachedTokens);
  const isOthersBetter = Math.abs(otherError) + tolerance < Math.abs(errorTokens);
  const isClaimed = verdict === "over" && prediction.tokens !== null;
  const isCharged = isClaimed || (verdict !== "right" && isOthersBetter);
  return { predictedTokens, errorTokens, verdict, isCharged };
}

/** Of a match that leaves open what is between two ends: 0 there. */
function distance({ from, to }: { from: number; to: number }, tokens: number): number {
  if (tokens < from) return from - tokens;
  return tokens > to ? to - tokens : 0;
}

function verdictOf(errorTokens: number, tolerance: number): Verdict {
  if (Math.abs(errorTokens) <= tolerance) return "right";
  return errorTokens > 0 ? "over" : "under";
}

/** Tokens of an average content block of a prompt; of media only what is written. */
function blockTokens(promptTokens: number, totalBlocks: number): number {
  const average = Math.ceil(promptTokens / (totalBlocks + 0.5));
  return Math.min(Math.max(average, CONTENT_BLOCK_TOKENS), CONTENT_BLOCK_BYTES);
}
