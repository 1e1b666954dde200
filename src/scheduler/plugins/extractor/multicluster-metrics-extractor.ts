// multicluster-metrics-extractor: mean KV usage and mean queue of another cluster's pool.
//
//   llm-d.ai/multicluster-kv-cache-utilization = kvCacheUtilizationMetric
//   llm-d.ai/multicluster-queue-size           = queueSizeMetric
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/metrics/multicluster.go. A mean
// that is not told for five seconds is unknown; llm-d keeps it for ever.

import { z } from "zod";
import { parseMetricSpec } from "../../data-layer/metric-spec.ts";
import { type ExporterRead, SPECIFICATION_LIMITS } from "../../data-layer/specification.ts";
import { defineExtractor } from "../../plugin.ts";

export const MULTICLUSTER_KV_USAGE = "llm-d.ai/multicluster-kv-cache-utilization";
export const MULTICLUSTER_QUEUE_SIZE = "llm-d.ai/multicluster-queue-size";
const ATTRIBUTES = {
  kvCacheUtilizationMetric: MULTICLUSTER_KV_USAGE,
  queueSizeMetric: MULTICLUSTER_QUEUE_SIZE,
} as const;
const DEFAULTS = {
  kvCacheUtilizationMetric: "llm_d_epp_average_kv_cache_utilization",
  queueSizeMetric: "llm_d_epp_average_queue_size",
} as const;

const metricSpec = z
  .string()
  .max(SPECIFICATION_LIMITS.metricSpecCharsMax)
  .superRefine((text, context) => {
    const parsed = text === "" ? undefined : parseMetricSpec(text);
    if (parsed?.ok === false) context.addIssue({ code: "custom", message: parsed.message });
  });

export const multiclusterMetricsExtractor = defineExtractor({
  type: "multicluster-metrics-extractor",
  stability: "alpha",
  params: z.strictObject({
    kvCacheUtilizationMetric: metricSpec
      .default(DEFAULTS.kvCacheUtilizationMetric)
      .describe("Mean KV usage, 0 to 1; the default where empty"),
    queueSizeMetric: metricSpec
      .default(DEFAULTS.queueSizeMetric)
      .describe("Mean length of the engines' queues; the default where empty"),
  }),
  create: (params) => ({
    reads: "prometheus",
    contribute(builder, { target }) {
      if (target === null) return;
      const names = Object.keys(ATTRIBUTES) as (keyof typeof ATTRIBUTES)[];
      const reads = names.flatMap((name): ExporterRead[] => {
        const key = builder.scalar(ATTRIBUTES[name]);
        const parsed = parseMetricSpec(params[name] || DEFAULTS[name]);
        if (key === undefined || !parsed.ok) return [];
        return [{ key, sources: [parsed.source], combine: "first", scale: 1, ownLabel: null }];
      });
      builder.exporter(target, reads);
    },
  }),
});
