// context-length-aware: prefer endpoints that are meant for prompts of this length, and keep the others
// out where that is asked for.
//
//   label "min-max", len = the prompt's tokens, width = max - min
//   in range      0.3 + 0.7 * (0.7 / (1 + width / 10000) + 0.3 * (max - len) / width)     1 for width 0
//   out of range  0.3 / (1 + distance / 1000)
//   no label 0.5 · a label that is no range 0
//   as a filter (enableFiltering): keeps what is in range, or has no label
//
// So a narrow range beats a wide one, and room above the prompt beats a tight fit.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/contextlengthaware. The length is an
// estimate (bytes / 4): near the end of a range a prompt may count to the wrong side. O(n), no allocation
// but when a label changes.

import { z } from "zod";
import { labelOf } from "../../labels.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { definePlugin, type Filter, type PickContext, type Scorer } from "../../plugin.ts";

const NO_LABEL_SCORE = 0.5;
/** What a range that does not hold the prompt scores at most, and one that does at least. */
const OUT_OF_RANGE_SCORE = 0.3;
const WIDTH_SCALE_TOKENS = 10_000;
const DISTANCE_SCALE_TOKENS = 1_000;

const params = z.strictObject({
  label: z
    .string()
    .min(1)
    .default("llm-d.ai/context-length-range")
    .describe("Label that holds an endpoint's range of tokens, as min-max"),
  enableFiltering: z
    .boolean()
    .default(false)
    .describe("Whether endpoints out of range are left out"),
});
type Params = z.output<typeof params>;

interface TokenRange {
  readonly min: number;
  readonly max: number;
}

/** null for a label that is no range. */
function parseRange(label: string): TokenRange | null {
  const match = /^\s*(\d+)\s*-\s*(\d+)\s*$/.exec(label);
  if (match === null) return null;
  const range = { min: Number(match[1]), max: Number(match[2]) };
  return range.min <= range.max ? range : null;
}

class ContextLengthAware implements Filter, Scorer {
  readonly #params: Params;
  /** By slot: the label that was parsed last, and what it says. */
  readonly #labels: (string | undefined)[] = Array.from({ length: ENDPOINTS_MAX });
  readonly #ranges: (TokenRange | null)[] = [];

  constructor(given: Params) {
    this.#params = given;
  }

  filter(context: PickContext): number {
    const { candidates, candidateCount, request } = context;
    if (!this.#params.enableFiltering) return candidateCount;
    let kept = 0;
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      const range = this.#rangeOf(context, slot);
      if (range === null || (range !== undefined && !isWithin(range, request.promptTokens)))
        continue;
      candidates[kept++] = slot;
    }
    return kept;
  }

  score(context: PickContext, out: Float64Array): void {
    const { candidates, candidateCount, request } = context;
    for (let i = 0; i < candidateCount; i++) {
      const range = this.#rangeOf(context, candidates[i]!);
      if (range === undefined) out[i] = NO_LABEL_SCORE;
      else out[i] = range === null ? 0 : scoreOf(range, request.promptTokens);
    }
  }

  /** undefined without a label, null for one that is no range. */
  #rangeOf({ pool }: PickContext, slot: number): TokenRange | null | undefined {
    const label = labelOf(pool.endpoint(slot)?.labels, this.#params.label);
    if (label === undefined) return undefined;
    if (label !== this.#labels[slot]) {
      this.#labels[slot] = label;
      this.#ranges[slot] = parseRange(label);
    }
    return this.#ranges[slot];
  }
}

function isWithin({ min, max }: TokenRange, tokens: number): boolean {
  return tokens >= min && tokens <= max;
}

function scoreOf(range: TokenRange, tokens: number): number {
  const { min, max } = range;
  if (!isWithin(range, tokens)) {
    const distance = tokens < min ? min - tokens : tokens - max;
    return OUT_OF_RANGE_SCORE / (1 + distance / DISTANCE_SCALE_TOKENS);
  }
  const width = max - min;
  if (width === 0) return 1;
  const narrowness = 1 / (1 + width / WIDTH_SCALE_TOKENS);
  const room = (max - tokens) / width;
  return OUT_OF_RANGE_SCORE + (1 - OUT_OF_RANGE_SCORE) * (0.7 * narrowness + 0.3 * room);
}

export const contextLengthAware = definePlugin({
  type: "context-length-aware",
  kinds: ["filter", "scorer"],
  params,
  create: (given) => new ContextLengthAware(given),
});
