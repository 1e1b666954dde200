// prefix-cache-affinity-filter: keep the endpoints that hold the prompt, unless waiting there costs
// more than computing it elsewhere.
//
//   share[i] = weightedBlocks[i] / totalBlocks          0 when the prompt has no full block
//   holders  = { i : share[i] ≥ affinityThreshold }
//   ttft[i]  = in-flight tokens[i] / peakPrefillThroughput × 1000, or the predicted TTFT
//   kept     = all            with probability explorationProbability, or where there is no holder
//              all            where min ttft of holders - min ttft of others > maxTTFTPenaltyMs
//              holders        otherwise
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/prefixcacheaffinity. An endpoint
// that was never sampled, or not lately, is no reason here to leave a holder: in llm-d it looks idle.
// The throughput is of one model and GPU (Qwen3-32B, 2×H100): with another engine the estimate is off
// by the ratio of their speeds. O(n), no allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { type PrefixMatch, producerOf } from "../../data/data.ts";
import { isFresh } from "../../freshness.ts";
import { type DataNeed, defineFilter, type Filter, type PickContext } from "../../plugin.ts";

const params = z
  .strictObject({
    affinityThreshold: z
      .number()
      .max(1)
      .default(0.8)
      .describe("Share of the prompt that a holder holds; 0 or less switches the filter off"),
    explorationProbability: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe("Chance that a request ignores what is cached"),
    maxTTFTPenaltyMs: z
      .number()
      .min(0)
      .default(18_000)
      .describe("Milliseconds that a holder may be slower than the others; 0: any"),
    ttftSource: z
      .enum(["prefillThroughput", "latencyPredictor"])
      .default("prefillThroughput")
      .describe("Where the times to the first token come from"),
    peakPrefillThroughput: z
      .number()
      .min(0)
      .default(15_928)
      .describe("Tokens a second that an endpoint prefills"),
    prefixMatchInfoProducerName: z.string().default("").describe("Who knows what is cached"),
    latencyPredictionInfoProducerName: z.string().default("").describe("Who predicts latencies"),
    inFlightLoadProducerName: z.string().default("").describe("Who counts tokens in flight"),
  })
  .refine(
    ({ ttftSource, maxTTFTPenaltyMs, peakPrefillThroughput }) =>
      ttftSource === "latencyPredictor" || maxTTFTPenaltyMs === 0 || peakPrefillThroughput > 0,
    {
      path: ["peakPrefillThroughput"],
      error: "must be over 0 when ttftSource is prefillThroughput",
    },
  );
type Params = z.output<typeof params>;

function needsOf(filled: Params): DataNeed[] {
  const needs: DataNeed[] = [{ key: "prefix-match", producer: filled.prefixMatchInfoProducerName }];
  if (filled.maxTTFTPenaltyMs === 0) return needs;
  const source: DataNeed =
    filled.ttftSource === "latencyPredictor"
      ? { key: "latency-prediction", producer: filled.latencyPredictionInfoProducerName }
      : { key: "in-flight-load", producer: filled.inFlightLoadProducerName };
  return [...needs, source];
}

class PrefixCacheAffinityFilter implements Filter {
  readonly #params: Params;
  readonly #prefixProducer: string;
  readonly #predictionProducer: string;
  readonly #loadProducer: string;

  constructor(filled: Params) {
    this.#params = filled;
    this.#prefixProducer = producerOf("prefix-match", filled.prefixMatchInfoProducerName);
    const { latencyPredictionInfoProducerName, inFlightLoadProducerName } = filled;
    this.#predictionProducer = producerOf("latency-prediction", latencyPredictionInfoProducerName);
    this.#loadProducer = producerOf("in-flight-load", inFlightLoadProducerName);
  }

  filter(context: PickContext): number {
    const { candidateCount } = context;
    const { affinityThreshold, explorationProbability } = this.#params;
    if (candidateCount <= 1 || affinityThreshold <= 0) return candidateCount;
    if (explorationProbability > 0 && context.rng() < explorationProbability) return candidateCount;
    const match = context.data.get("prefix-match", this.#prefixProducer);
    if (match === undefined || match.totalBlocks === 0) return candidateCount;
    if (!this.#isWorthIt(context, match)) return candidateCount;
    const { weightedBlocks, totalBlocks } = match;
    return keepCandidates(
      context,
      (_, slot) => weightedBlocks[slot]! / totalBlocks >= affinityThreshold,
    );
  }

  /** Whether there are holders, and the best of them is not too slow. */
  #isWorthIt(context: PickContext, { weightedBlocks, totalBlocks }: PrefixMatch): boolean {
    const { candidates, candidateCount } = context;
    const { affinityThreshold, maxTTFTPenaltyMs } = this.#params;
    const ttftMs = this.#ttftMs(context);
    let holders = 0;
    let holderMs = Infinity;
    let otherMs = Infinity;
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      if (weightedBlocks[slot]! / totalBlocks >= affinityThreshold) {
        holders++;
        holderMs = Math.min(holderMs, ttftMs(slot));
      } else if (isFresh(context, slot)) otherMs = Math.min(otherMs, ttftMs(slot));
    }
    // Nobody to compare with, or no times at all: infinity less infinity is not over any limit.
    return holders > 0 && !(maxTTFTPenaltyMs > 0 && holderMs - otherMs > maxTTFTPenaltyMs);
  }

  /** Infinity where there is no prediction. */
  #ttftMs({ data }: PickContext): (slot: number) => number {
    if (this.#params.ttftSource === "latencyPredictor") {
      const prediction = data.get("latency-prediction", this.#predictionProducer);
      return (slot) => (prediction?.isPredicted[slot] === 1 ? prediction.ttftMs[slot]! : Infinity);
    }
    const tokens = data.get("in-flight-load", this.#loadProducer)?.tokens;
    const tokensPerMs = this.#params.peakPrefillThroughput / 1_000;
    return (slot) => (tokens === undefined ? 0 : tokens[slot]! / tokensPerMs);
  }
}

export const prefixCacheAffinityFilter = defineFilter({
  type: "prefix-cache-affinity-filter",
  params,
  consumes: needsOf,
  create: (filled) => new PrefixCacheAffinityFilter(filled),
});
