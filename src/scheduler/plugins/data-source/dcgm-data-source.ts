// dcgm-data-source: the metrics of NVIDIA's DCGM exporter on an endpoint's node.
//
// The node is the endpoint's label nodeAddress, or the endpoint's own host where it has none. Asked
// every second unless `interval` says otherwise: the exporter itself measures every 30 s by default.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/dcgm. llm-d asks at each tick of
// 50 ms, once for each endpoint of the node, as here.

import { z } from "zod";
import { intervalParam, requestShape, targetOf } from "../../data-layer/source-params.ts";
import { defineDataSource } from "../../plugin.ts";

export const dcgmDataSource = defineDataSource({
  type: "dcgm-data-source",
  stability: "alpha",
  params: z.strictObject({
    ...requestShape({ scheme: "http", path: "/metrics", insecureSkipVerify: true }),
    port: z.int().min(1).max(65_535).default(9_400).describe("Port of the exporter"),
    interval: intervalParam,
  }),
  create: (params) => ({ payload: "prometheus", target: targetOf(params, "node") }),
});
