// probabilistic-admitter: turn sheddable requests away, the likelier the fuller the pool is.
//
//   s      = mean over the candidates of max(queueDepth / queueDepthThreshold,
//            kvUsage / kvCacheUtilThreshold), 1 for one without a fresh sample
//   denied : priority < 0, with probability min(s^power × k, 1)
//
// With the defaults: 2 % at s = 0.15, 10 % at 0.20, 73 % at 0.30, all from 0.32.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/admitter/probabilisticadmitter. A denial
// is rejected-saturated, 429, as in llm-d, whose other admitters answer 500. It sheds long before
// engines are full, and half of the pool idle counts like all of it half full. O(n), no allocation.

import { z } from "zod";
import { type Admitter, defineAdmitter, type PickContext } from "../../plugin.ts";
import { utilizationSaturation } from "../filter/utilization-detector.ts";

const params = z.strictObject({
  queueDepthThreshold: z.int().min(1).default(5).describe("Waiting requests of a full engine"),
  kvCacheUtilThreshold: z
    .number()
    .positive()
    .default(0.8)
    .describe("Fraction of KV blocks in use of a full engine"),
  power: z.number().positive().default(5).describe("How suddenly the shedding begins"),
  k: z.number().positive().default(300).describe("How early the shedding begins"),
});
type Params = z.output<typeof params>;

class ProbabilisticAdmitter implements Admitter {
  readonly #params: Params;

  constructor(filled: Params) {
    this.#params = filled;
  }

  admit(context: PickContext): string | undefined {
    if (context.request.priority >= 0 || context.candidateCount === 0) return undefined;
    const { queueDepthThreshold, kvCacheUtilThreshold, power, k } = this.#params;
    const { staleAfterMs } = context;
    const limits = { queueDepthThreshold, kvCacheUtilThreshold, staleAfterMs };
    const saturation = utilizationSaturation(context, limits);
    const probability = Math.min(saturation ** power * k, 1);
    if (context.rng() >= probability) return undefined;
    const share = Math.round(probability * 100);
    return `the pool sheds ${share} % of requests of negative priority at saturation ${saturation.toFixed(2)}`;
  }
}

export const probabilisticAdmitter = defineAdmitter({
  type: "probabilistic-admitter",
  params,
  create: (filled) => new ProbabilisticAdmitter(filled),
});
