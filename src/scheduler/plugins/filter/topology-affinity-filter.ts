// topology-affinity-filter: keep the endpoints near the one that another profile has chosen.
//
//   kept: the endpoint shares the level minAffinity, or a nearer one, with the peer
//   all are kept without a peer, where the peer has no such labels, and where none would be
//
// The peer is the first choice of the first profile that found somebody: the decode endpoint for the
// profiles behind it, the prefill endpoint where prefill goes first.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/topologyaffinity. topology.ts says
// which labels; llm-d copies them from nodes, here they are the endpoint's own. It sees no load: near
// endpoints are kept though far ones are idle. O(n), no allocation.

import { z } from "zod";
import { keepCandidatesOrAll, labelsOf } from "../../candidates.ts";
import { defineFilter, type PickContext } from "../../plugin.ts";
import { CLOSENESS, closenessOf, TOPOLOGY_LEVELS } from "../../topology.ts";

const params = z.strictObject({
  minAffinity: z
    .enum(["", ...TOPOLOGY_LEVELS])
    .default("host")
    .describe("The farthest level that counts as near; host where empty"),
  topologyProducerName: z.string().default("").describe("Without effect: labels are read directly"),
});

export const topologyAffinityFilter = defineFilter({
  type: "topology-affinity-filter",
  stability: "alpha",
  params,
  notes: ({ topologyProducerName }: z.output<typeof params>) =>
    topologyProducerName === ""
      ? []
      : ["topologyProducerName is without effect: the endpoints' labels are read directly."],
  create: ({ minAffinity }) => {
    const closenessMin = CLOSENESS[minAffinity === "" ? "host" : minAffinity];
    const isNear = (context: PickContext, slot: number) => {
      const peer = labelsOf(context, context.results.firstSlot);
      return closenessOf(peer, labelsOf(context, slot)) >= closenessMin;
    };
    return {
      filter: (context) =>
        context.results.firstSlot < 0
          ? context.candidateCount
          : keepCandidatesOrAll(context, isNear),
    };
  },
});
