// What one step computes.

import type { BlockKey } from "./kv-cache.ts";
import type { Sequence } from "./sequence.ts";
import type { PrefillChunk, StepWork } from "./timing.ts";

/** A sequence's part in a step. */
export interface Scheduled<Hash extends BlockKey> {
  readonly sequence: Sequence<Hash>;
  readonly tokenCount: number;
  /** True when the step begins the prompt. */
  readonly isFirst: boolean;
}

export function workOf<Hash extends BlockKey>(
  batch: readonly Scheduled<Hash>[],
  runningCount: number,
): StepWork {
  const prefill: PrefillChunk[] = [];
  let decodeCount = 0;
  let contextTokens = 0;
  for (const { sequence, tokenCount, isFirst } of batch) {
    if (sequence.prefillCount > 0) {
      prefill.push({ tokens: tokenCount, tokensOfPrompt: sequence.prefillCount, isFirst });
      continue;
    }
    decodeCount++;
    contextTokens += sequence.knownCount;
  }
  return { prefill, decodeCount, contextTokens, runningCount };
}
