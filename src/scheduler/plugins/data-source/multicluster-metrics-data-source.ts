// multicluster-metrics-data-source: the metrics of another cluster's endpoint picker.
//
// For pools whose endpoints are clusters. It is asked where the endpoint's labels metricsAddress and
// metricsPort say, by https, and its certificate is looked at: the request leaves the cluster. Of an
// answer 8 MiB are read, as of every source here.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/source/metrics/multicluster.go.

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

export const multiclusterMetricsDataSource = defineDataSource({
  type: "multicluster-metrics-data-source",
  stability: "alpha",
  params: z
    .strictObject({
      ...requestShape({ scheme: "https", path: "/metrics", insecureSkipVerify: false }),
      port: portParam,
      ...CERTIFICATE_SHAPE,
      interval: intervalParam,
    })
    .refine(hasWholeCertificate, HALF_A_CERTIFICATE),
  create: (params) => ({ payload: "prometheus", target: targetOf(params, "metrics") }),
});
