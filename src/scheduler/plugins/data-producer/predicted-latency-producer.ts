// predicted-latency-producer: what a request is expected to take on each endpoint.
//
//   ttft[slot]    = model/predict-ttft.ts: what was sent there, and what is uncached, at learned speed
//   tpot[slot]    = TPOT_BASE_MS + TPOT_PER_REQUEST_MS * (1 + max(running, inFlightRequests))
//   headroom      = objective - prediction
//
// No prediction for an endpoint without a fresh sample. TPOT counts only with streamingMode and outside of
// prefill endpoints: its headroom is 0 otherwise.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/predictedlatency. llm-d asks
// a trained model over HTTP; this is the analytic formula that such a model falls back to. The time
// between tokens has figures of Qwen3-32B on two H100: it orders endpoints of equal hardware, and its
// milliseconds are rough.
// Differences: a request that names one objective is not held to the other (llm-d takes the missing one
// as 0 ms, which nobody meets); with none, headrooms are the negative predictions, as in llm-d, so that
// the quickest comes closest. A pool of more than 100 endpoints has predictions, too. The objectives of
// requests that run already are not looked at: plugins are not told when a request ends. O(n), no
// allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { parseDurationMs } from "../../config/quantities.ts";
import { isFresh } from "../../freshness.ts";
import { labelOf } from "../../labels.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { predictTtftMs } from "../../model/predict-ttft.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

/** Reading the weights once, and the KV blocks of one request of about 10k tokens. */
const TPOT_BASE_MS = 12;
const TPOT_PER_REQUEST_MS = 0.4;

const params = z.strictObject({
  sloBufferFactor: z
    .number()
    .positive()
    .default(1)
    .describe("Share of the objective between tokens that a prediction is held to"),
  contextTTL: z
    .string()
    .refine((text) => parseDurationMs(text) !== undefined, {
      error: "expected a duration, e.g. 5m",
    })
    .default("5m")
    .describe("Without effect: nothing is kept for a request"),
  streamingMode: z
    .boolean()
    .default(false)
    .describe("Whether answers are streams, so that the time between tokens counts"),
  endpointRoleLabel: z.string().default("").describe("Label that says `prefill` of an endpoint"),
  predictInProduce: z
    .boolean()
    .default(true)
    .describe("Whether latency is predicted before a decision"),
  useEncoderCacheFeatures: z.boolean().default(false).describe("Without effect yet"),
  encoderCacheMatchInfoProducerName: z.string().default("").describe("Without effect yet"),
  samplingMean: z.number().optional().describe("Deprecated and without effect"),
  maxDecodeTokenSamplesForPrediction: z.number().optional().describe("As samplingMean"),
});
type Params = z.output<typeof params>;

class PredictedLatencyProducer implements DataProducer {
  readonly #params: Params;
  readonly #isPredicted = new Uint8Array(ENDPOINTS_MAX);
  readonly #ttftMs = new Float64Array(ENDPOINTS_MAX);
  readonly #tpotMs = new Float64Array(ENDPOINTS_MAX);
  readonly #ttftHeadroomMs = new Float64Array(ENDPOINTS_MAX);
  readonly #tpotHeadroomMs = new Float64Array(ENDPOINTS_MAX);
  readonly #prediction = {
    isPredicted: this.#isPredicted,
    ttftMs: this.#ttftMs,
    tpotMs: this.#tpotMs,
    ttftHeadroomMs: this.#ttftHeadroomMs,
    tpotHeadroomMs: this.#tpotHeadroomMs,
    dispatchedRequests: new Int32Array(0) as Int32Array,
  };
  readonly data = { "latency-prediction": this.#prediction };

  constructor(given: Params) {
    this.#params = given;
  }

  produce(context: PickContext): void {
    const { candidates, candidateCount, endpoints, data } = context;
    this.#prediction.dispatchedRequests = endpoints.inFlightRequests;
    const uncached = data.get("uncached-tokens", UNCACHED_PRODUCER);
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      const canPredict = this.#params.predictInProduce && isFresh(context, slot);
      this.#isPredicted[slot] = canPredict ? 1 : 0;
      if (!canPredict) {
        this.#clear(slot);
        continue;
      }
      const uncachedTokens = uncached?.tokens[slot] ?? context.request.promptTokens;
      this.#ttftMs[slot] = predictTtftMs(endpoints, slot, { nowMs: context.nowMs, uncachedTokens });
      const batch = Math.max(endpoints.runningRequests[slot]!, endpoints.inFlightRequests[slot]!);
      this.#tpotMs[slot] = TPOT_BASE_MS + TPOT_PER_REQUEST_MS * (1 + batch);
      this.#setHeadroom(context, slot);
    }
  }

  #clear(slot: number): void {
    this.#ttftMs[slot] = Number.NaN;
    this.#tpotMs[slot] = Number.NaN;
    this.#ttftHeadroomMs[slot] = Number.NaN;
    this.#tpotHeadroomMs[slot] = Number.NaN;
  }

  #setHeadroom({ request, pool }: PickContext, slot: number): void {
    const { ttftSloMs, tpotSloMs } = request;
    const { streamingMode, endpointRoleLabel, sloBufferFactor } = this.#params;
    const isWithout = ttftSloMs === undefined && tpotSloMs === undefined;
    const tpotCounts =
      streamingMode &&
      (endpointRoleLabel === "" ||
        labelOf(pool.endpoint(slot)?.labels, endpointRoleLabel) !== PREFILL);
    this.#ttftHeadroomMs[slot] =
      ttftSloMs !== undefined || isWithout ? (ttftSloMs ?? 0) - this.#ttftMs[slot]! : 0;
    this.#tpotHeadroomMs[slot] =
      tpotCounts && (tpotSloMs !== undefined || isWithout)
        ? (tpotSloMs ?? 0) * sloBufferFactor - this.#tpotMs[slot]!
        : 0;
  }
}

const PREFILL = "prefill";
const UNCACHED_PRODUCER = producerOf("uncached-tokens", undefined);

export const predictedLatencyProducer = defineDataProducer({
  type: "predicted-latency-producer",
  produces: ["latency-prediction"],
  params,
  consumes: () => [{ key: "uncached-tokens" }],
  notes({ useEncoderCacheFeatures, encoderCacheMatchInfoProducerName, streamingMode }) {
    const notes = ["Latency is predicted by a formula, not by a trained model."];
    if (!streamingMode)
      notes.push(
        "streamingMode is false: TTFT is still the time to the first token, in llm-d to the last.",
      );
    if (useEncoderCacheFeatures || encoderCacheMatchInfoProducerName !== "")
      notes.push("Encoder cache features are without effect yet.");
    return notes;
  },
  create: (given) => new PredictedLatencyProducer(given),
});
