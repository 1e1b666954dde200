import { describe, expect, it } from "vitest";
import { DEFAULT_SPECIFICATION } from "../../../../src/scheduler/data-layer/compile.ts";
import { SPECIFICATION_LIMITS } from "../../../../src/scheduler/data-layer/specification.ts";
import { metricsDataSource } from "../../../../src/scheduler/plugins/data-source/metrics-data-source.ts";
import { coreMetricsExtractor } from "../../../../src/scheduler/plugins/extractor/core-metrics-extractor.ts";
import { compiled, mistakesOf, sourceOf } from "../../support/data-layer.ts";

const source = sourceOf(metricsDataSource);
const compile = (parameters?: object) => compiled(source, [coreMetricsExtractor, parameters]);
const ENGINE = { name: "mine" };

describe("core-metrics-extractor", () => {
  it("reads llm-d's engines by default", () => {
    expect(compile()).toEqual({
      specification: DEFAULT_SPECIFICATION,
      topology: null,
      problems: [],
    });
  });

  it("reads an engine as it is configured, and the others as they are known", () => {
    const { specification, problems } = compile({
      engineLabelKey: "engine",
      defaultEngine: "mine",
      engineConfigs: [
        {
          ...ENGINE,
          queuedRequestsSpec: "waiting{type=all}",
          kvUsageSpec: "usage",
          loraSpec: "adapters",
          cacheInfoSpec: "cache",
          cacheBlockSizeLabelName: "page",
          cacheBlockSizeSpec: "page_size",
          cacheNumBlocksSpec: "pages",
          customMetrics: [
            { attributeKey: "power", metricSpec: 'watts{gpu="0"}' },
            { attributeKey: "heat", metricSpec: "celsius" },
          ],
        },
      ],
    });
    expect(problems).toEqual([]);
    expect(specification).toMatchObject({
      engineLabels: ["engine", "inference.networking.k8s.io/engine-type"],
      defaultEngine: "mine",
      scalars: ["power", "heat"],
    });
    expect(specification.engines.map(({ name }) => name)).toEqual([
      "mine",
      ...DEFAULT_SPECIFICATION.engines.map(({ name }) => name),
    ]);
    expect(specification.engines[0]).toMatchObject({
      path: null,
      rankLabels: [],
      waiting: [{ series: "waiting", match: { type: "all" } }],
      running: [],
      kvUsage: [{ series: "usage" }],
      kvBlockSize: [{ series: "cache", valueLabel: "page" }, { series: "page_size" }],
      kvBlocks: [{ series: "cache", valueLabel: "num_gpu_blocks" }, { series: "pages" }],
      lora: { source: { series: "adapters" }, maxLabel: "max_lora" },
      scalars: [
        { key: 0, sources: [{ series: "watts", match: { gpu: "0" } }] },
        { key: 1, sources: [{ series: "celsius" }] },
      ],
    });
  });

  it("puts a configured engine in the place of the known one, with its path and ranks", () => {
    const { specification } = compile({
      engineConfigs: [{ name: "trtllm-serve", queuedRequestsSpec: "queue" }],
    });
    const named = specification.engines.filter(({ name }) => name === "trtllm-serve");
    expect(named).toMatchObject([
      { path: "/prometheus/metrics", waiting: [{ series: "queue" }], kvUsage: [] },
    ]);
  });

  it("takes empty parameters for their defaults, as llm-d does", () => {
    const { specification } = compile({ engineLabelKey: "", defaultEngine: "" });
    expect(specification).toEqual(DEFAULT_SPECIFICATION);
  });

  it.for([
    [{ defaultEngine: "vlmm" }, "defaultEngine", /no engine has this name; there are vllm, sglang/],
    [{ engineConfigs: [{ name: "" }] }, "engineConfigs.0.name", /cannot be empty/],
    [{ engineConfigs: [{ name: "default" }] }, "engineConfigs.0.name", /reserved/],
    [{ engineConfigs: [ENGINE, ENGINE] }, "engineConfigs.1.name", /twice/],
    [
      { engineConfigs: [{ ...ENGINE, kvUsageSpec: "m{a!=b}" }] },
      "engineConfigs.0.kvUsageSpec",
      /only = is allowed/,
    ],
    [
      { engineConfigs: [{ ...ENGINE, customMetrics: [{ attributeKey: "k", metricSpec: "{}" }] }] },
      "engineConfigs.0.customMetrics.0.metricSpec",
      /no metric name/,
    ],
    [{ engineConfigs: [{ ...ENGINE, queueSpec: "m" }] }, "engineConfigs.0", /queueSpec/],
  ] as const)("refuses %o", ([parameters, path, message]) => {
    expect(mistakesOf(coreMetricsExtractor, parameters)).toEqual([
      [path, expect.stringMatching(message)],
    ]);
  });

  it("takes as many engines and attributes as a specification holds", () => {
    const engines = (count: number) => ({
      engineConfigs: Array.from({ length: count }, (_, i) => ({ name: `e${i}` })),
    });
    const max = SPECIFICATION_LIMITS.enginesMax - DEFAULT_SPECIFICATION.engines.length;
    expect(compile(engines(max)).problems).toEqual([]);
    expect(mistakesOf(coreMetricsExtractor, engines(max + 1))).toHaveLength(1);
    const custom = (engine: number) => ({
      name: `e${engine}`,
      customMetrics: Array.from({ length: 5 }, (_, i) => {
        return { attributeKey: `${engine}-${i}`, metricSpec: "m" };
      }),
    });
    const { problems } = compile({ engineConfigs: [custom(0), custom(1)] });
    expect(problems).toHaveLength(2);
  });
});
