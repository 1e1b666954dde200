// pool-cost-scorer: the pool where the request is answered soonest, with what that costs besides.
//
//   score = scaleMs / (scaleMs + cost − common)
//   cost  = rttMs + waitMs + prefillMs + memoryMs + priceMs + extraMs + affinityMs
//
//   common      the least prefillMs of the candidates: each would have to compute that. Pickers draw near-ties by
//               ratios of scores; with it a long prompt would make a tie of a pool nearby and one far away
//   rttMs       roundTrips times what is measured from here, or what is configured until then: one to the
//               pool's object for endpoints, one to its relay for the first byte
//   waitMs      as the pool predicts it, with what was sent there since (pools/credits.ts), plus staleShare
//               of the time beyond a second since it was told: the older, the longer
//   prefillMs   tokens of the prompt that are not cached there · ms a token of one endpoint
//   memoryMs    rent of KV memory, dear where it is scarce: memoryWeight · share of an endpoint's memory ·
//               service · k² / (1 − k)
//   priceMs     by policy: prompt and expected answer, in ms for a thousand tokens
//   extraMs     by policy: egress
//   affinityMs  for each pool but the one that the request is drawn to: who holds the most of the prompt,
//               and of those that hold as much the one that its session, or else its first block, is
//               hashed to (pools/rendezvous.ts)
//
// Affinity is so worth affinityMs and no more: a pool that costs that much less takes its sessions over.
//
// Source: SkyLB and its successors join distance and prefix, Dynamo prefill and load;
// docs/decisions/042-choosing-a-pool.md says what is from whom. Times are for ranking, and only as good as
// the pool's own prediction. It misleads where pools judge their waits by different measures. O(n), no
// allocation. Without pools there is no cost: all score 1.

import { z } from "zod";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { capacityTokens, memoryPrice } from "../../model/memory-rent.ts";
import { reservedOutputTokens } from "../../model/inference-request.ts";
import { defineScorer, type PickContext, type ScoreTerms, type Scorer } from "../../plugin.ts";
import { COST_DEFAULTS } from "../../pools/cost-defaults.ts";
import type { PoolColumns } from "../../pools/pool-columns.ts";
import { drawOf } from "../../pools/rendezvous.ts";
import { SUMMARY_INTERVAL_MS } from "../../pools/summary.ts";

const params = z.strictObject({
  scaleMs: z
    .number()
    .positive()
    .default(COST_DEFAULTS.scaleMs)
    .describe("Cost at which the score is a half"),
  roundTrips: z
    .number()
    .min(0)
    .max(10)
    .default(COST_DEFAULTS.roundTrips)
    .describe("Times that a request goes to the pool and back before its first byte"),
  memoryWeight: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Weight of the KV memory that the request takes from others"),
  staleShare: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Milliseconds that each millisecond of a load's age beyond a second counts as"),
  affinityMs: z
    .number()
    .min(0)
    .optional()
    .describe("How much worse the pool may be that a session is drawn to; as routing.affinityMs"),
});
type Params = z.output<typeof params>;

/**
 * Beyond it a load's age adds nothing: its pool is in a worse tier, and where all are, what is added to all of
 * them makes near and far alike.
 */
const STALE_MS_MAX = 10_000;

/** Buffers by index among the candidates; the scorer owns them. */
function createTerms() {
  return {
    rttMs: new Float64Array(ENDPOINTS_MAX),
    waitMs: new Float64Array(ENDPOINTS_MAX),
    prefillMs: new Float64Array(ENDPOINTS_MAX),
    memoryMs: new Float64Array(ENDPOINTS_MAX),
    priceMs: new Float64Array(ENDPOINTS_MAX),
    extraMs: new Float64Array(ENDPOINTS_MAX),
    affinityMs: new Float64Array(ENDPOINTS_MAX),
  };
}

class PoolCostScorer implements Scorer {
  readonly #params: Params;
  readonly #terms = createTerms();
  readonly terms: ScoreTerms = {
    names: Object.keys(this.#terms),
    values: Object.values(this.#terms),
  };

  constructor(values: Params) {
    this.#params = values;
  }

  // Hot path: proxy-3-pools in bench/.
  score(context: PickContext, out: Float64Array): void {
    const { candidateCount, pools } = context;
    if (pools === undefined) {
      out.fill(1, 0, candidateCount);
      return;
    }
    const { scaleMs } = this.#params;
    const drawn = drawnIndex(context, pools);
    const affinityMs = this.#params.affinityMs ?? pools.policy.affinityMs;
    let common = Infinity;
    for (let i = 0; i < candidateCount; i++) {
      const affinity = drawn < 0 || drawn === i ? 0 : affinityMs;
      this.#terms.affinityMs[i] = affinity;
      out[i] = affinity + this.#cost(context, pools, i);
      common = Math.min(common, this.#terms.prefillMs[i]!);
    }
    for (let i = 0; i < candidateCount; i++) out[i] = scaleMs / (scaleMs + out[i]! - common);
  }

  /** Fills the other terms of candidate `i`; gives their sum. */
  #cost({ candidates, prefix, request }: PickContext, pools: PoolColumns, i: number): number {
    const terms = this.#terms;
    const slot = candidates[i]!;
    const { promptTokens } = request;
    const output = reservedOutputTokens(request.outputTokensMax);
    const cached = prefix.weightedBlocks[slot]! * prefix.blockTokens;
    const uncached = Math.max(0, promptTokens - cached);
    const age = Math.min(STALE_MS_MAX, pools.loadAgeMs[slot]!);
    const stale = this.#params.staleShare * Math.max(0, age - SUMMARY_INTERVAL_MS);
    const rtt = this.#params.roundTrips * pools.rttMs[slot]!;
    const wait = Math.max(0, pools.waitMs[slot]! + pools.creditMs[slot]!) + stale;
    const prefill = uncached * pools.prefillMsPerToken[slot]!;
    const memory = this.#memory(pools, slot, uncached + output);
    const price =
      (promptTokens * pools.inputMsPer1kTokens[slot]! + output * pools.outputMsPer1kTokens[slot]!) /
      1_000;
    const extra = pools.extraMs[slot]!;
    terms.rttMs[i] = rtt;
    terms.waitMs[i] = wait;
    terms.prefillMs[i] = prefill;
    terms.memoryMs[i] = memory;
    terms.priceMs[i] = price;
    terms.extraMs[i] = extra;
    return rtt + wait + prefill + memory + price + extra;
  }

  #memory(pools: PoolColumns, slot: number, tokens: number): number {
    const capacity = pools.kvCapacityTokens[slot]! / pools.usable[slot]!;
    const share = tokens / capacityTokens(capacity);
    const price = memoryPrice(pools.kvUsage[slot]!);
    return this.#params.memoryWeight * share * pools.serviceMs[slot]! * price;
  }
}

/**
 * Index of the candidate that the request is drawn to; -1 where nothing draws it. Whoever holds the most of the
 * prompt; of those that hold as much, a session's requests and those with one beginning go to the same.
 */
function drawnIndex(
  { candidates, candidateCount, prefix, request }: PickContext,
  pools: PoolColumns,
): number {
  const { keys } = request;
  const { session } = pools;
  if (session === undefined && keys.length < 2) return -1;
  const low = session?.low ?? keys[0]!;
  const high = session?.high ?? keys[1]!;
  let drawn = -1;
  let held = -1;
  let most = -Infinity;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    const blocks = prefix.matchedBlocks[slot]!;
    if (blocks < held) continue;
    const draw = drawOf(low, high, pools.nameHash[slot]!, pools.usable[slot]!);
    if (blocks > held || draw > most) {
      held = blocks;
      most = draw;
      drawn = i;
    }
  }
  return drawn;
}

export const poolCostScorer = defineScorer({
  type: "pool-cost-scorer",
  stability: "fairlead",
  params,
  create: (values) => new PoolCostScorer(values),
});
