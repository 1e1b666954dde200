// weighted-token-fairness: serve the flow that was given the fewest tokens for its weight.
//
//   cost     = uncached input + outputWeight × output, at least 1
//   counter += cost / weight    when a request is let through; corrected by real usage when it ends
//   whoever begins to wait again starts no lower than the least counter of those that wait
//
// Source: VTC (OSDI 2024) with weights; see token-counters.ts. Ours, and the default. Of two flows that
// always have something waiting neither is ahead of the other by more than twice the cost of the
// largest request by its weight, and what is reserved for requests under way and will not be used.
// A long prompt that is cached costs little: whoever reuses prefixes gets more requests served. It
// misleads where the expected output is far from the real one and requests take long: corrections
// come at the end. O(log flows) a request.

import { z } from "zod";
import type { BandFairness } from "../../flow-control/contracts.ts";
import { TokenCounters } from "../../flow-control/token-counters.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

function createBand(outputWeight: number): BandFairness {
  const counters = new TokenCounters(outputWeight);
  return {
    joined: (flow, wasAway) => counters.joined(flow, wasAway),
    left: (flow) => counters.left(flow),
    choose: () => counters.least?.flow,
    dispatched: (flow, request) => counters.reserve(flow, request),
    settled: (flow, { request, usage }) => counters.settle(flow, request, usage),
    debts: () => counters.debts(),
    restore: (debts) => counters.restore(debts),
    attained: () => counters.attained(),
    servedElsewhere: (tokens) => counters.servedElsewhere(tokens),
    forgotten: (flow) => counters.forget(flow),
  };
}

export const weightedTokenFairness = defineFairnessPolicy({
  type: "weighted-token-fairness",
  role: "fairness policy",
  stability: "fairlead",
  params: z.strictObject({
    outputWeight: z
      .number()
      .min(0)
      .max(100)
      .default(2)
      .describe("What a token of the answer costs, in uncached tokens of a prompt"),
  }),
  create: ({ outputWeight }) => ({ forBand: () => createBand(outputWeight) }),
});
