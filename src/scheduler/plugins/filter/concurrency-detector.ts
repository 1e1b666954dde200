// concurrency-detector: how full the engines are, by what was sent to them; as a filter, drop the full
// ones.
//
//   requests[i], tokens[i] = dispatched to i and not ended
//   saturation = Σ requests / (n × maxConcurrency)               requests
//                Σ tokens / (n × maxTokenConcurrency)            tokens
//                mean of max(requests[i] / maxConcurrency, tokens[i] / maxTokenConcurrency)   hybrid
//                1 for a pool without endpoints; may be over 1
//   dropped    : load[i] ≥ floor(limit × (1 + headroom)), in hybrid mode for either
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/saturationdetector/concurrency. It needs no
// samples, so nothing is stale, and it sees no request that came another way. As in llm-d the filter
// may drop everybody, and the request is turned away; utilization-detector keeps all then. One limit
// for all endpoints: in a pool of unlike GPUs the slow ones are overrun or the fast ones idle. O(n),
// no allocation.

import { z } from "zod";
import { keepCandidates } from "../../candidates.ts";
import { type InFlightLoad, producerOf } from "../../data/data.ts";
import type { SaturationView } from "../../flow-control/contracts.ts";
import { definePlugin, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  concurrencyMode: z
    .enum(["requests", "tokens", "hybrid"])
    .default("requests")
    .describe("What is counted"),
  maxConcurrency: z.int().min(1).default(100).describe("Requests of a full engine"),
  maxTokenConcurrency: z.int().min(1).default(1_000_000).describe("Tokens of a full engine"),
  headroom: z
    .number()
    .min(0)
    .default(0)
    .describe("Share by which the filter's limits are over the maxima"),
  inFlightLoadProducerName: z.string().default("").describe("Who counts requests and tokens"),
});
type Params = z.output<typeof params>;

export interface ConcurrencyLimits {
  readonly concurrencyMode: Params["concurrencyMode"];
  readonly maxConcurrency: number;
  readonly maxTokenConcurrency: number;
}

/** Saturation of the candidates. */
export function concurrencySaturation(
  { candidates, candidateCount }: Pick<SaturationView, "candidates" | "candidateCount">,
  load: InFlightLoad,
  { concurrencyMode, maxConcurrency, maxTokenConcurrency }: ConcurrencyLimits,
): number {
  if (candidateCount === 0) return 1;
  let sum = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    const requests = load.requests[slot]! / maxConcurrency;
    const tokens = load.tokens[slot]! / maxTokenConcurrency;
    if (concurrencyMode === "hybrid") sum += Math.max(requests, tokens);
    else sum += concurrencyMode === "tokens" ? tokens : requests;
  }
  return sum / candidateCount;
}

function createFilter(filled: Params) {
  const { concurrencyMode, headroom } = filled;
  const producer = producerOf("in-flight-load", filled.inFlightLoadProducerName);
  const requestsMax =
    concurrencyMode === "tokens" ? Infinity : Math.floor(filled.maxConcurrency * (1 + headroom));
  const tokensMax =
    concurrencyMode === "requests"
      ? Infinity
      : Math.floor(filled.maxTokenConcurrency * (1 + headroom));
  return {
    filter(context: PickContext): number {
      const load = context.data.get("in-flight-load", producer);
      if (load === undefined) return context.candidateCount;
      const { requests, tokens } = load;
      return keepCandidates(
        context,
        (_, slot) => requests[slot]! < requestsMax && tokens[slot]! < tokensMax,
      );
    },
  };
}

/** From the end of a request until the ledger has counted it, at most. */
const LEDGER_LAG_MS = 10;

/** Where tokens are counted, by the mean request that was sent to each endpoint. */
function requestsOfFull(
  { candidates, candidateCount, endpoints }: SaturationView,
  { concurrencyMode, maxConcurrency, maxTokenConcurrency }: Params,
): number {
  if (concurrencyMode === "requests") return maxConcurrency;
  let sum = 0;
  for (let i = 0; i < candidateCount; i++) {
    const byTokens = maxTokenConcurrency / Math.max(1, endpoints.requestTokens[candidates[i]!]!);
    sum += concurrencyMode === "tokens" ? byTokens : Math.min(byTokens, maxConcurrency);
  }
  return candidateCount === 0 ? 0 : sum / candidateCount;
}

function createDetector(filled: Params) {
  return {
    saturation(view: SaturationView): number {
      const { inFlightRequests: requests, inFlightTokens: tokens } = view.endpoints;
      return concurrencySaturation(view, { requests, tokens }, filled);
    },
    requestsOfFull: (view: SaturationView) => requestsOfFull(view, filled),
    lagMs: () => LEDGER_LAG_MS,
  };
}

export const concurrencyDetector = definePlugin({
  type: "concurrency-detector",
  kinds: ["filter", "saturation-detector"],
  role: "saturation detector",
  params,
  consumes: ({ inFlightLoadProducerName }: Params) => [
    { key: "in-flight-load", producer: inFlightLoadProducerName },
  ],
  create: (filled: Params) => ({ ...createFilter(filled), ...createDetector(filled) }),
});
