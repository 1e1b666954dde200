// metrics-data-source: the engine's own metrics, as Prometheus text.
//
// A declaration: the pool's collectors do the asking, by the specification that this is compiled to.
// `/metrics`, the default path, stands for the one the engine is known for: TensorRT-LLM serves its
// text at /prometheus/metrics, where llm-d has to be told.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/metrics. llm-d asks at each tick of
// 50 ms unless `interval` says otherwise; here the tick is the pool's scrapeIntervalMs.

import { z } from "zod";
import {
  CERTIFICATE_SHAPE,
  HALF_A_CERTIFICATE,
  hasWholeCertificate,
  intervalParam,
  portParam,
  requestShape,
  targetOf,
} from "../../data-layer/source-params.ts";
import { defineDataSource } from "../../plugin.ts";

const PATH = "/metrics";

export const metricsDataSource = defineDataSource({
  type: "metrics-data-source",
  params: z
    .strictObject({
      ...requestShape({ scheme: "http", path: PATH, insecureSkipVerify: true }),
      port: portParam,
      ...CERTIFICATE_SHAPE,
      interval: intervalParam,
    })
    .refine(hasWholeCertificate, HALF_A_CERTIFICATE),
  create: (params) => ({ payload: "prometheus", target: targetOf(params, "endpoint", PATH) }),
});
