// inflight-load-producer: what has been sent to each endpoint and has not ended, and what this request
// would add.
//
//   inFlight[slot] = the ledger's counts
//   uncached[slot] = (total - matched[slot]) * blockTokens + max(0, promptTokens - total * blockTokens)
//                    + estimate
//   estimate       = min(round(promptTokens * outputRatio), client's limit, maxEstimatedOutputTokens)
//                    0 unless addEstimatedOutputTokens
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/inflightload. There each
// instance counts for itself and gives a prompt's tokens back at the first byte. Here the pool's ledger
// counts, once for all: a request's uncached prompt and a share of its output, until it ends. So tokens in
// flight stay high for longer, and a request that its relay forgets ends with its lease. O(n), no
// allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { OUTPUT_TOKENS_RESERVED_MAX } from "../../model/inference-request.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  addEstimatedOutputTokens: z
    .boolean()
    .default(false)
    .describe("Whether a request's output counts as work to come"),
  outputRatio: z.number().positive().default(1.5).describe("Output tokens expected a prompt token"),
  maxEstimatedOutputTokens: z.int().min(0).optional().describe("The estimate is cut off here"),
  prefixMatchInfoProducerName: z.string().default("").describe("Who tells what is cached where"),
  syncCrossReplicaState: z.boolean().default(true).describe("Without effect: a pool is one object"),
});
type Params = z.output<typeof params>;

class InFlightLoadProducer implements DataProducer {
  readonly #params: Params;
  readonly #prefixProducer: string;
  readonly #uncached = new Float64Array(ENDPOINTS_MAX);
  readonly #load: { requests: Int32Array; tokens: Float64Array } = {
    requests: new Int32Array(0),
    tokens: new Float64Array(0),
  };
  readonly data = { "in-flight-load": this.#load, "uncached-tokens": { tokens: this.#uncached } };

  constructor(given: Params) {
    this.#params = given;
    this.#prefixProducer = producerOf("prefix-match", given.prefixMatchInfoProducerName);
  }

  produce(context: PickContext): void {
    const { endpoints, candidates, candidateCount, data } = context;
    const { promptTokens } = context.request;
    this.#load.requests = endpoints.inFlightRequests;
    this.#load.tokens = endpoints.inFlightTokens;
    const match = data.get("prefix-match", this.#prefixProducer);
    const whole = (match?.totalBlocks ?? 0) * (match?.blockTokens ?? 0);
    const rest = Math.max(0, promptTokens - whole);
    const always = rest + this.#estimatedOutput(context);
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      const cached = match === undefined ? 0 : match.matchedBlocks[slot]! * match.blockTokens;
      this.#uncached[slot] = Math.max(0, whole - cached) + always;
    }
  }

  #estimatedOutput({ request }: PickContext): number {
    const { addEstimatedOutputTokens, outputRatio, maxEstimatedOutputTokens } = this.#params;
    if (!addEstimatedOutputTokens) return 0;
    return Math.min(
      Math.round(request.promptTokens * outputRatio),
      request.outputTokensMax ?? Infinity,
      maxEstimatedOutputTokens ?? Infinity,
    );
  }
}

export const inflightLoadProducer = defineDataProducer({
  type: "inflight-load-producer",
  produces: ["in-flight-load", "uncached-tokens"],
  params,
  consumes: ({ prefixMatchInfoProducerName: producer }) => [{ key: "prefix-match", producer }],
  notes: ({ addEstimatedOutputTokens }) =>
    addEstimatedOutputTokens
      ? [
          "addEstimatedOutputTokens: the estimate counts for the request at hand only. Requests in " +
            `flight count with what the ledger reserves, at most ${OUTPUT_TOKENS_RESERVED_MAX} ` +
            "output tokens each.",
        ]
      : [],
  create: (given) => new InFlightLoadProducer(given),
});
