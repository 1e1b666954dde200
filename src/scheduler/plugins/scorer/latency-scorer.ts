// latency-scorer: prefer endpoints by how far a prediction of their latency is from what the request
// wants.
//
//   Only the best of these classes that has a candidate is scored, the others get 0:
//     both headrooms >= 0 · idle · misses TPOT only · misses TTFT only · misses both · no prediction
//   n[d]  = |headroom| min-max scaled within the class, for d = TTFT, TPOT
//   c     = ttftWeight * n[TTFT] + tpotWeight * n[TPOT], of weights that sum to 1;
//           a dimension without a range gives its weight to the other, 0.5 when neither has one
//   score = min(1, (floor(100 * (least ? 1 - c : c)) + 1) / 100)
//
// headroomSelectionStrategy: `least` packs requests where they just fit, `most` spreads them. Where all
// miss their objective it is always `least`: the nearest miss. Nobody has a prediction:
//
//   score = round(100 * (kv * (1 - kvUsage) + queue * (maxQ - q) / maxQ + prefix * ratio) / sum) / 100
//
// with kv and queue parts of 0 for an endpoint without a fresh sample.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/latency. There an endpoint without a
// prediction counts as one that meets its objectives; here it comes last. It misleads as far as the
// prediction does. O(n), no allocation.

import { z } from "zod";
import { type LatencyPrediction, producerOf } from "../../data/data.ts";
import { isFresh } from "../../freshness.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { defineScorer, type PickContext, type Scorer } from "../../plugin.ts";

const weight = (value: number, what: string) => z.number().min(0).default(value).describe(what);

const params = z.strictObject({
  ttftWeight: weight(0.8, "Share of the headroom to the first token"),
  tpotWeight: weight(0.2, "Share of the headroom between tokens"),
  headroomSelectionStrategy: z
    .enum(["least", "most"])
    .default("least")
    .describe("Whether the least or the most headroom is preferred"),
  compositeKVWeight: weight(1, "Share of free KV memory where nothing is predicted"),
  compositeQueueWeight: weight(1, "Share of the queue where nothing is predicted"),
  compositePrefixWeight: weight(1, "Share of the cached prefix where nothing is predicted"),
  latencyPredictionInfoProducerName: z.string().default("").describe("Who predicts"),
  prefixMatchInfoProducerName: z.string().default("").describe("Who tells what is cached where"),
});
type Params = z.output<typeof params>;

/** Best first. */
const MEETS_BOTH = 0;
const IDLE = 1;
const MISSES_TPOT = 2;
const MISSES_TTFT = 3;
const MISSES_BOTH = 4;
const UNPREDICTED = 5;

function classOf(prediction: LatencyPrediction, slot: number): number {
  if (prediction.isPredicted[slot] !== 1) return UNPREDICTED;
  const meetsTtft = prediction.ttftHeadroomMs[slot]! >= 0;
  const meetsTpot = prediction.tpotHeadroomMs[slot]! >= 0;
  if (meetsTtft && meetsTpot) return MEETS_BOTH;
  if (prediction.dispatchedRequests[slot] === 0) return IDLE;
  if (meetsTtft) return MISSES_TPOT;
  return meetsTpot ? MISSES_TTFT : MISSES_BOTH;
}

/** Least and largest |headroom| of the class that is scored. */
class Range {
  min = Infinity;
  max = -Infinity;

  clear(): void {
    this.min = Infinity;
    this.max = -Infinity;
  }

  add(headroom: number): void {
    this.min = Math.min(this.min, Math.abs(headroom));
    this.max = Math.max(this.max, Math.abs(headroom));
  }

  /** 0..1; 0 when there is no range. */
  scale(headroom: number): number {
    const span = this.max - this.min;
    return span > 0 ? (Math.abs(headroom) - this.min) / span : 0;
  }
}

class LatencyScorer implements Scorer {
  readonly #params: Params;
  readonly #predictor: string;
  readonly #prefixProducer: string;
  /** Scratch: by candidate. */
  readonly #classes = new Uint8Array(ENDPOINTS_MAX);
  readonly #ttft = new Range();
  readonly #tpot = new Range();

  constructor(given: Params) {
    this.#params = given;
    this.#predictor = producerOf("latency-prediction", given.latencyPredictionInfoProducerName);
    this.#prefixProducer = producerOf("prefix-match", given.prefixMatchInfoProducerName);
  }

  score(context: PickContext, out: Float64Array): void {
    const prediction = context.data.get("latency-prediction", this.#predictor);
    const best = prediction === undefined ? UNPREDICTED : this.#classify(context, prediction);
    if (prediction === undefined || best === UNPREDICTED) this.#scoreComposite(context, out);
    else this.#scoreHeadroom(context, { prediction, best }, out);
  }

  /** The best class that has a candidate. */
  #classify({ candidates, candidateCount }: PickContext, prediction: LatencyPrediction): number {
    let best = UNPREDICTED;
    for (let i = 0; i < candidateCount; i++) {
      const found = classOf(prediction, candidates[i]!);
      this.#classes[i] = found;
      if (found < best) best = found;
    }
    return best;
  }

  #scoreHeadroom(
    { candidates, candidateCount }: PickContext,
    { prediction, best }: { prediction: LatencyPrediction; best: number },
    out: Float64Array,
  ): void {
    const { ttftHeadroomMs, tpotHeadroomMs } = prediction;
    const isLeast = best !== MEETS_BOTH || this.#params.headroomSelectionStrategy === "least";
    this.#ttft.clear();
    this.#tpot.clear();
    for (let i = 0; i < candidateCount; i++) {
      if (this.#classes[i] !== best) continue;
      this.#ttft.add(ttftHeadroomMs[candidates[i]!]!);
      this.#tpot.add(tpotHeadroomMs[candidates[i]!]!);
    }
    const ttftShare = this.#ttftShare();
    for (let i = 0; i < candidateCount; i++) {
      if (this.#classes[i] !== best) {
        out[i] = 0;
        continue;
      }
      const ttft = this.#ttft.scale(ttftHeadroomMs[candidates[i]!]!);
      const tpot = this.#tpot.scale(tpotHeadroomMs[candidates[i]!]!);
      const share = Number.isNaN(ttftShare) ? 0.5 : ttftShare * ttft + (1 - ttftShare) * tpot;
      out[i] = Math.min(1, (Math.floor((isLeast ? 1 - share : share) * 100) + 1) / 100);
    }
  }

  /** The weight of TTFT, of two that sum to 1; NaN when neither dimension has a range. */
  #ttftShare(): number {
    const { ttftWeight, tpotWeight } = this.#params;
    const hasTtft = this.#ttft.max > this.#ttft.min;
    const hasTpot = this.#tpot.max > this.#tpot.min;
    if (!hasTtft && !hasTpot) return Number.NaN;
    if (!hasTpot) return 1;
    if (!hasTtft) return 0;
    return ttftWeight + tpotWeight > 0 ? ttftWeight / (ttftWeight + tpotWeight) : 1;
  }

  #scoreComposite(context: PickContext, out: Float64Array): void {
    const { candidates, candidateCount, endpoints } = context;
    const { compositeKVWeight, compositeQueueWeight, compositePrefixWeight } = this.#params;
    const sum = compositeKVWeight + compositeQueueWeight + compositePrefixWeight;
    const match = context.data.get("prefix-match", this.#prefixProducer);
    const longest = longestQueue(context);
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      let parts = 0;
      if (isFresh(context, slot)) {
        const queue = longest === 0 ? 1 : (longest - endpoints.queueDepth[slot]!) / longest;
        parts = compositeKVWeight * (1 - endpoints.kvUsage[slot]!) + compositeQueueWeight * queue;
      }
      if (match !== undefined && match.totalBlocks > 0)
        parts += compositePrefixWeight * (match.matchedBlocks[slot]! / match.totalBlocks);
      out[i] = sum === 0 ? 0 : Math.min(1, Math.max(0, Math.round((100 * parts) / sum) / 100));
    }
  }
}

/** Among the candidates with a fresh sample. */
function longestQueue(context: PickContext): number {
  const { candidates, candidateCount } = context;
  let longest = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (isFresh(context, slot)) longest = Math.max(longest, context.endpoints.queueDepth[slot]!);
  }
  return longest;
}

export const latencyScorer = defineScorer({
  type: "latency-scorer",
  ranksByLoad: true,
  params,
  consumes: (given) => [
    { key: "latency-prediction", producer: given.latencyPredictionInfoProducerName },
    { key: "prefix-match", producer: given.prefixMatchInfoProducerName },
  ],
  create: (given) => new LatencyScorer(given),
});
