// header-label-affinity-scorer: prefer endpoints whose label says what a header of the request says.
//
//   score[i] = 1 when labels[i][labelKey] equals the header, else 0; 0 for all without the header
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/headerlabelaffinity. The header is the
// client's to choose: it prefers endpoints, it does not keep anybody from the others. O(n), no
// allocation.

import { z } from "zod";
import { labelOf } from "../../labels.ts";
import { headerName } from "../../header-names.ts";
import { requestHeader } from "../../model/inference-request.ts";
import { defineScorer } from "../../plugin.ts";

export const headerLabelAffinityScorer = defineScorer({
  type: "header-label-affinity-scorer",
  stability: "alpha",
  params: z.strictObject({
    headerName: headerName.describe("Header of the request"),
    labelKey: z.string().min(1).describe("Label of the endpoints"),
  }),
  requestHeaders: ({ headerName }) => [headerName],
  create: ({ headerName, labelKey }) => ({
    score({ request, pool, candidates, candidateCount }, out) {
      const wanted = requestHeader(request, headerName);
      for (let i = 0; i < candidateCount; i++) {
        const label = labelOf(pool.endpoint(candidates[i]!)?.labels, labelKey);
        out[i] = wanted !== undefined && label === wanted ? 1 : 0;
      }
    },
  }),
});
