// latency-cost-scorer: the endpoint where the request costs the least time, its own and that of others.
//
//   score = scaleMs / (scaleMs + cost)
//   cost  = queueMs + heldMs + prefillMs + memoryMs + decodeMs + spreadMs + adapterMs + staleMs
//
//   queueMs    prompts sent there and not yet computed: max(0, prefillBusyUntil − now)
//   heldMs     until its KV memory is free: heldWeight · max(0, need − capacity) / capacity · service
//   prefillMs  uncached · ms a token · (1 + prefillInterference · running)
//   memoryMs   rent of KV memory: memoryWeight · (uncached + output) / capacity · service · k² / (1 − k)
//   decodeMs   decodeMsPerRequest · (running + waiting)
//   spreadMs   spreadMs · (uncached / prompt)² · prompts of this size it has computed beyond the least ·
//              min(1, capacity / the least cold tokens)²
//   adapterMs  loading the LoRA adapter: nothing where it is active, twice where another must go
//   staleMs    without a fresh sample
//
//   need = what is in use + waiting · what a request there takes + uncached + output       k = need / capacity
//
// Every term is of this request at this endpoint, so a cached prefix is worth what it saves: prefill,
// and the memory that a second copy would take away from others, which is dear where memory is
// scarce and cheap where it is not. Affinity is given up exactly when waiting costs more than that. A busy
// holder of a prefix so keeps its requests as long as nobody has much more room, also when all are
// full. Where nothing is cached anywhere, spreadMs lets caches grow evenly, as llm-d's no-hit-lru-scorer
// does, but by tokens, and as far as they are kept: caches that were filled several times over
// by cold prompts do not get better by it.
//
// ms a token and service are learned (model/engine-speeds.ts); the queue of prompts drains by the clock
// and needs no sample (model/engine-work.ts).
//
// Source: SMG's least_load (work in seconds, and a barrier k / (1 − k)), Dynamo's cost, no-hit-lru of llm-d.
// docs/decisions/017-latency-cost.md has what each term is good for. It misleads where the prompt's
// tokens are misjudged by much, and its times are for ranking: they are no prediction. O(n), no
// allocation.

import { z } from "zod";
import { isFresh } from "../../freshness.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { capacityTokens, memoryPrice } from "../../model/memory-rent.ts";
import { reservedOutputTokens } from "../../model/inference-request.ts";
import { defineScorer, type PickContext, type ScoreTerms, type Scorer } from "../../plugin.ts";

const params = z.strictObject({
  scaleMs: z
    .number()
    .positive()
    .default(1_000)
    .describe("Cost at which the score is a half; it changes no order"),
  prefillInterference: z
    .number()
    .min(0)
    .default(0.02)
    .describe("Share of a prefill's time that each running request there counts as its own delay"),
  heldWeight: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Weight of the wait for requests to end where KV memory is full"),
  memoryWeight: z
    .number()
    .min(0)
    .default(0.7)
    .describe("Weight of the KV memory that the request takes from others"),
  decodeMsPerRequest: z
    .number()
    .min(0)
    .default(10)
    .describe("Milliseconds for each request running or waiting there"),
  spreadMs: z
    .number()
    .min(0)
    .default(400)
    .describe("Milliseconds for each cold prompt of this size computed there beyond the least"),
  adapterMs: z.number().min(0).default(500).describe("Milliseconds to load a LoRA adapter"),
  staleMs: z
    .number()
    .min(0)
    .default(60_000)
    .describe("Milliseconds that an endpoint without a fresh sample counts as behind"),
});
type Params = z.output<typeof params>;

/** Prompts that an endpoint can be ahead in spreadMs. */
const SPREAD_PROMPTS_MAX = 8;

/** Buffers by index among the candidates; the scorer owns them. */
function createTerms() {
  return {
    queueMs: new Float64Array(ENDPOINTS_MAX),
    heldMs: new Float64Array(ENDPOINTS_MAX),
    prefillMs: new Float64Array(ENDPOINTS_MAX),
    memoryMs: new Float64Array(ENDPOINTS_MAX),
    decodeMs: new Float64Array(ENDPOINTS_MAX),
    spreadMs: new Float64Array(ENDPOINTS_MAX),
    adapterMs: new Float64Array(ENDPOINTS_MAX),
    staleMs: new Float64Array(ENDPOINTS_MAX),
  };
}

/** What is the same for all candidates of a decision. */
interface Decision {
  readonly outputTokens: number;
  readonly coldTokensMin: number;
  /** Whether the model is an adapter that some candidate has: only then is it one to be loaded. */
  readonly isAdapter: boolean;
}

class LatencyCostScorer implements Scorer {
  readonly #params: Params;
  readonly #terms = createTerms();
  readonly terms: ScoreTerms = {
    names: Object.keys(this.#terms),
    values: Object.values(this.#terms),
  };

  constructor(values: Params) {
    this.#params = values;
  }

  // Hot path: pick-64 and pick-1000 in bench/. One small object a decision.
  score(context: PickContext, out: Float64Array): void {
    const { scaleMs } = this.#params;
    const decision = decisionOf(context);
    for (let i = 0; i < context.candidateCount; i++)
      out[i] = scaleMs / (scaleMs + this.#cost(context, decision, i));
  }

  #cost(context: PickContext, decision: Decision, i: number): number {
    const { endpoints, prefix, request, nowMs } = context;
    const terms = this.#terms;
    const { prefillInterference, decodeMsPerRequest, staleMs } = this.#params;
    const slot = context.candidates[i]!;
    const cached = prefix.weightedBlocks[slot]! * prefix.blockTokens;
    const uncached = Math.max(0, request.promptTokens - cached);
    const running = endpoints.runningRequests[slot]!;
    const waiting = endpoints.queueDepth[slot]!;
    const queue = Math.max(0, endpoints.prefillBusyUntilMs[slot]! - nowMs);
    const interference = 1 + prefillInterference * running;
    const prefill = uncached * endpoints.prefillMsPerToken[slot]! * interference;
    const decode = decodeMsPerRequest * (running + waiting);
    const spread = this.#spread(context, decision, slot, uncached);
    const adapter = decision.isAdapter ? this.#adapter(context, slot) : 0;
    const stale = isFresh(context, slot) ? 0 : staleMs;
    terms.queueMs[i] = queue;
    terms.prefillMs[i] = prefill;
    terms.decodeMs[i] = decode;
    terms.spreadMs[i] = spread;
    terms.adapterMs[i] = adapter;
    terms.staleMs[i] = stale;
    const memory = this.#memory(context, i, uncached + decision.outputTokens);
    return queue + prefill + decode + spread + adapter + stale + memory;
  }

  /** Fills heldMs and memoryMs of candidate `i`; gives their sum. */
  #memory({ endpoints, candidates }: PickContext, i: number, tokens: number): number {
    const { heldWeight, memoryWeight } = this.#params;
    const slot = candidates[i]!;
    const capacity = capacityTokens(endpoints.kvCapacityTokens[slot]!);
    const onTheWay = endpoints.queueDepth[slot]! * endpoints.requestTokens[slot]!;
    const need = endpoints.kvUsage[slot]! + (onTheWay + tokens) / capacity;
    const serviceMs = endpoints.serviceMs[slot]!;
    const held = heldWeight * Math.max(0, need - 1) * serviceMs;
    const memory = memoryWeight * (tokens / capacity) * serviceMs * memoryPrice(need);
    this.#terms.heldMs[i] = held;
    this.#terms.memoryMs[i] = memory;
    return held + memory;
  }

  #spread(
    { endpoints, request }: PickContext,
    { coldTokensMin }: Decision,
    slot: number,
    uncached: number,
  ): number {
    const promptTokens = Math.max(1, request.promptTokens);
    const coldShare = uncached / promptTokens;
    const ahead = (endpoints.coldTokens[slot]! - coldTokensMin) / promptTokens;
    const prompts = Math.min(SPREAD_PROMPTS_MAX, ahead);
    const capacity = capacityTokens(endpoints.kvCapacityTokens[slot]!);
    const keeps = coldTokensMin > capacity ? capacity / coldTokensMin : 1;
    return this.#params.spreadMs * coldShare * coldShare * prompts * keeps * keeps;
  }

  #adapter({ endpoints, request }: PickContext, slot: number): number {
    const { adapters } = endpoints;
    const { adapterMs } = this.#params;
    const state = adapters.stateOf(slot, request.model);
    if (state !== "absent") return state === "active" ? 0 : adapterMs;
    const loaded = adapters.activeCount(slot) + adapters.waitingCount(slot);
    return loaded < adapters.maxActive(slot) ? adapterMs : 2 * adapterMs;
  }
}

function decisionOf({ endpoints, request, candidates, candidateCount }: PickContext): Decision {
  const { adapters, coldTokens } = endpoints;
  let coldTokensMin = Infinity;
  let isAdapter = false;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (coldTokens[slot]! < coldTokensMin) coldTokensMin = coldTokens[slot]!;
    isAdapter ||= adapters.stateOf(slot, request.model) !== "absent";
  }
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  return { outputTokens, coldTokensMin, isAdapter };
}

export const latencyCostScorer = defineScorer({
  type: "latency-cost-scorer",
  ranksByLoad: true,
  stability: "fairlead",
  params,
  create: (values) => new LatencyCostScorer(values),
});
