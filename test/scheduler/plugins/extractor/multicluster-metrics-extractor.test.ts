import { expect, it } from "vitest";
import { multiclusterMetricsDataSource } from "../../../../src/scheduler/plugins/data-source/multicluster-metrics-data-source.ts";
import { multiclusterMetricsExtractor } from "../../../../src/scheduler/plugins/extractor/multicluster-metrics-extractor.ts";
import { compiled, mistakesOf, sourceOf } from "../../support/data-layer.ts";

const source = sourceOf(multiclusterMetricsDataSource);
const compile = (parameters?: object) =>
  compiled(source, [multiclusterMetricsExtractor, parameters]).specification;

it("reads the two means that a cluster's endpoint picker publishes", () => {
  const { scalars, exporters, metrics } = compile();
  expect(metrics).toBeNull();
  expect(scalars).toEqual([
    "llm-d.ai/multicluster-kv-cache-utilization",
    "llm-d.ai/multicluster-queue-size",
  ]);
  expect(exporters).toMatchObject([
    {
      target: source.target,
      reads: [
        { key: 0, sources: [{ series: "llm_d_epp_average_kv_cache_utilization" }], scale: 1 },
        { key: 1, sources: [{ series: "llm_d_epp_average_queue_size" }], scale: 1 },
      ],
    },
  ]);
});

it("reads others where it is told, and the usual ones where it is told nothing", () => {
  const parameters = { kvCacheUtilizationMetric: "usage{pool=a}", queueSizeMetric: "" };
  expect(compile(parameters).exporters[0]!.reads.map(({ sources }) => sources[0])).toEqual([
    { series: "usage", match: { pool: "a" } },
    { series: "llm_d_epp_average_queue_size" },
  ]);
  expect(mistakesOf(multiclusterMetricsExtractor, { queueSizeMetric: "sum(x)" })).toHaveLength(1);
});
