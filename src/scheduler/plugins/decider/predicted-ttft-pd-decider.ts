// predicted-ttft-pd-decider: prefill on another endpoint where all who wait come off better by it.
//
//   yes        : splitMs + marginMs < localMs + disturbedMs
//   localMs    = predicted time to first token on the decode endpoint, which would compute `uncached`
//   splitMs    = the least predicted time to first token of a prefill endpoint, with what it would compute,
//                + transferMs + the wait for KV memory on the decode endpoint
//   transferMs = transferOverheadMs + uncached × transferMsPerToken
//   stallMs    = uncached × prefillMsPerToken of the decode endpoint
//   disturbedMs = stallWeight × stallMs × running there          0 where stallMs ≤ stallMsMax
//
// An engine's steps are as long as the prompts in them: while it computes one, all that it decodes wait as
// long as that takes in total, whether the prompt is cut into chunks or not. So `stallMs` is what each
// running request gives, and a short one goes unnoticed between two tokens. `uncached` are the prompt's
// tokens that the decode endpoint does not hold: to compute or to move. With fewer than uncachedTokensMin
// the answer is no before anything is predicted, so short prompts and warm caches are never split.
//
// Prefill endpoints are the fresh ones whose role says prefill, by the label llm-d.ai/role. The profile that
// chooses among them afterwards may choose another one than the best seen here. Speeds of prefill and
// transfer are learned of each endpoint (model/engine-speeds.ts), and begin with a common GPU's and a link's
// of 200 Gb/s. llm-d has no such decider: its prefix-based-pd-decider counts tokens and knows neither
// load nor speed.
//
// Source: model/predict-ttft.ts; docs/decisions/036-predicted-split.md. It misleads where the first contact
// of two endpoints shakes hands, which takes NIXL seconds, and where decoding is bound by something else
// than steps. O(n), no allocation.

import { z } from "zod";
import { isEjected } from "../../ejection.ts";
import { isFresh } from "../../freshness.ts";
import { TRANSFER_OVERHEAD_MS } from "../../model/engine-speeds.ts";
import { memoryWaitMs, predictTtftMs } from "../../model/predict-ttft.ts";
import { type Decider, defineDecider, type PickContext, type VerdictTerms } from "../../plugin.ts";
import { hasRole } from "../../roles.ts";

const params = z.strictObject({
  uncachedTokensMin: z
    .int()
    .min(1)
    .default(512)
    .describe("Tokens to compute on the decode endpoint from which prefill may run apart"),
  marginMs: z
    .number()
    .min(0)
    .default(20)
    .describe("Milliseconds that prefill apart must save at least"),
  transferOverheadMs: z
    .number()
    .min(0)
    .default(TRANSFER_OVERHEAD_MS)
    .describe("Milliseconds that a hand-over takes whatever its length"),
  transferMsPerToken: z
    .number()
    .min(0)
    .optional()
    .describe("Milliseconds that it takes a token, instead of what is learned"),
  stallMsMax: z
    .number()
    .min(0)
    .default(200)
    .describe("Milliseconds of prefill that requests running on the decode endpoint do not mind"),
  stallWeight: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Weight of a longer one, for each of them; 0: they do not count"),
});
type Params = z.output<typeof params>;

const TERMS = ["localMs", "disturbedMs", "splitMs", "transferMs", "uncachedTokens"] as const;

class PredictedTtftPdDecider implements Decider {
  readonly #params: Params;
  readonly verdictTerms: VerdictTerms = { names: TERMS, values: new Float64Array(TERMS.length) };

  constructor(given: Params) {
    this.#params = given;
  }

  decide(context: PickContext, slot: number): boolean {
    const { values } = this.verdictTerms;
    values.fill(Number.NaN);
    if (slot < 0) return false;
    const { uncachedTokensMin, marginMs } = this.#params;
    const { endpoints, nowMs } = context;
    const uncachedTokens = uncachedOn(context, slot);
    values[4] = uncachedTokens;
    if (uncachedTokens < uncachedTokensMin) return false;
    const localMs = predictTtftMs(endpoints, slot, { nowMs, uncachedTokens });
    const disturbedMs = this.#disturbedMs(context, slot, uncachedTokens);
    const transferMs = this.#transferMs(context, slot, uncachedTokens);
    const splitMs = bestPrefillMs(context, slot) + transferMs + memoryWaitMs(endpoints, slot);
    values[0] = localMs;
    values[1] = disturbedMs;
    values[2] = splitMs === Infinity ? Number.NaN : splitMs;
    values[3] = transferMs;
    return splitMs + marginMs < localMs + disturbedMs;
  }

  #transferMs({ endpoints }: PickContext, slot: number, tokens: number): number {
    const { transferOverheadMs, transferMsPerToken } = this.#params;
    return (
      transferOverheadMs + tokens * (transferMsPerToken ?? endpoints.transferMsPerToken[slot]!)
    );
  }

  #disturbedMs({ endpoints }: PickContext, slot: number, uncachedTokens: number): number {
    const { stallMsMax, stallWeight } = this.#params;
    const stallMs = uncachedTokens * endpoints.prefillMsPerToken[slot]!;
    return stallMs <= stallMsMax ? 0 : stallWeight * stallMs * endpoints.runningRequests[slot]!;
  }
}

/** Tokens of the prompt that `slot` does not hold, as far as is known. */
function uncachedOn({ request, prefix }: PickContext, slot: number): number {
  // Of a prompt without a full block nothing is told.
  const cached = prefix.totalBlocks === 0 ? 0 : prefix.matchedBlocks[slot]! * prefix.blockTokens;
  return Math.max(0, request.promptTokens - cached);
}

/** Infinity where no other endpoint can prefill. */
function bestPrefillMs(context: PickContext, decodeSlot: number): number {
  const { endpoints, candidates, candidateCount, nowMs } = context;
  let best = Infinity;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (slot === decodeSlot || !isFresh(context, slot) || isEjected(context, slot)) continue;
    if (!hasRole(context, slot, "prefill")) continue;
    const uncachedTokens = uncachedOn(context, slot);
    best = Math.min(best, predictTtftMs(endpoints, slot, { nowMs, uncachedTokens }));
  }
  return best;
}

export const predictedTtftPdDecider = defineDecider({
  type: "predicted-ttft-pd-decider",
  stability: "fairlead",
  params,
  create: (given) => new PredictedTtftPdDecider(given),
});
