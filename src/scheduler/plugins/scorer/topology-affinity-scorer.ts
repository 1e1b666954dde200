// topology-affinity-scorer: prefer endpoints close to the one that the request's first stage runs on.
//
//   same host 1.00 · rack 0.20 · zone 0.05 · region 0.02 · else 0, and 0 for all before a first stage
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/topologyaffinity; topology.ts says
// what is the same. For a prefill or decode profile that runs second: what is computed by the one moves
// to the other over that distance. In the profile that runs first it says nothing. O(n), no allocation.

import { z } from "zod";
import { defineScorer } from "../../plugin.ts";
import { CLOSENESS, closenessOf } from "../../topology.ts";

/** By closeness; 0 for what shares nothing. */
const SCORES = new Float64Array(1 + Math.max(...Object.values(CLOSENESS)));
SCORES[CLOSENESS.host] = 1;
SCORES[CLOSENESS.rack] = 0.2;
SCORES[CLOSENESS.zone] = 0.05;
SCORES[CLOSENESS.region] = 0.02;

export const topologyAffinityScorer = defineScorer({
  type: "topology-affinity-scorer",
  stability: "alpha",
  params: z.strictObject({
    topologyProducerName: z
      .string()
      .default("")
      .describe("Without effect: topology is read from endpoints' labels"),
  }),
  notes: ({ topologyProducerName }) =>
    topologyProducerName === ""
      ? []
      : ["topologyProducerName is without effect: the endpoints' labels are read directly."],
  create: () => ({
    score({ pool, results, candidates, candidateCount }, out) {
      const peer = results.firstSlot < 0 ? undefined : pool.endpoint(results.firstSlot);
      for (let i = 0; i < candidateCount; i++) {
        const endpoint = pool.endpoint(candidates[i]!);
        out[i] =
          peer === undefined || endpoint === undefined
            ? 0
            : SCORES[closenessOf(endpoint.labels, peer.labels)]!;
      }
    },
  }),
});
