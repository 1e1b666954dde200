// dcgm-extractor: how busy an endpoint's GPUs are.
//
//   GPUUtilization = max over the endpoint's GPUs of DCGM_FI_DEV_GPU_UTIL / 100
//
// A series with a label `pod` counts only where it names the endpoint, or the pod that the endpoint is
// a rank of; the others count for every endpoint of the node.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/dcgm. A value that is not told for
// five seconds is unknown; llm-d keeps it for ever.

import { z } from "zod";
import { defineExtractor } from "../../plugin.ts";

const ATTRIBUTE = "GPUUtilization";
const PERCENT = 0.01;

export const dcgmExtractor = defineExtractor({
  type: "dcgm-extractor",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({
    reads: "prometheus",
    contribute(builder, { target }) {
      const key = builder.scalar(ATTRIBUTE);
      if (target === null || key === undefined) return;
      const sources = [{ series: "DCGM_FI_DEV_GPU_UTIL" }];
      builder.exporter(target, [{ key, sources, combine: "max", scale: PERCENT, ownLabel: "pod" }]);
    },
  }),
});
