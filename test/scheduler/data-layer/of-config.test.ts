import { describe, expect, it } from "vitest";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import {
  type CompiledSpecification,
  DEFAULT_SPECIFICATION,
} from "../../../src/scheduler/data-layer/compile.ts";
import { specificationOf } from "../../../src/scheduler/data-layer/of-config.ts";

function compile(written: object): CompiledSpecification {
  const { config, issues } = loadSchedulerConfig(written, { allowExperimentalPlugins: true });
  expect(issues).toEqual([]);
  return specificationOf(config!);
}

describe("what a configuration has read", () => {
  it("is the default where it says nothing", () => {
    expect(compile({})).toEqual({
      specification: DEFAULT_SPECIFICATION,
      topology: null,
      problems: [],
    });
  });

  it("is what its sources say, and the engines besides", () => {
    const { specification, problems } = compile({
      plugins: [
        { type: "dcgm-data-source", parameters: { port: 9_401 } },
        { type: "dcgm-extractor" },
        { type: "models-data-source" },
        { type: "models-data-extractor" },
        { type: "queue-scorer" },
      ],
      dataLayer: {
        sources: [
          { pluginRef: "dcgm-data-source", extractors: [{ pluginRef: "dcgm-extractor" }] },
          { pluginRef: "models-data-source", extractors: [{ pluginRef: "models-data-extractor" }] },
        ],
      },
    });
    expect(problems).toEqual([]);
    expect(specification).toMatchObject({
      metrics: DEFAULT_SPECIFICATION.metrics,
      scalars: ["GPUUtilization"],
      exporters: [{ target: { port: 9_401, host: "node" } }],
      models: { path: "/v1/models" },
    });
  });

  it("is nothing of the engines where the defaults are not wanted", () => {
    const { specification } = compile({
      plugins: [{ type: "queue-scorer" }],
      dataLayer: { injectDefaults: false },
    });
    expect(specification).toMatchObject({ metrics: null, engines: [] });
  });

  it("is refused as a whole where it does not fit together", () => {
    const metric = (key: string) => ({ attributeKey: key, metricSpec: "m" });
    const engine = (name: string) => {
      return { name, customMetrics: Array.from({ length: 5 }, (_, i) => metric(`${name}-${i}`)) };
    };
    const { config, issues } = loadSchedulerConfig({
      plugins: [
        { type: "queue-scorer" },
        {
          type: "core-metrics-extractor",
          parameters: { engineConfigs: [engine("a"), engine("b")] },
        },
      ],
    });
    expect(config).toBeUndefined();
    expect(issues).toMatchObject([
      { path: ["dataLayer"], message: expect.stringContaining("b-3: a pool has at most 8") },
      { path: ["dataLayer"], message: expect.stringContaining("b-4") },
    ]);
  });

  it("names the topology's labels though nobody binds the extractor", () => {
    const { topology } = compile({
      plugins: [
        { type: "topology-extractor", parameters: { rack: "example.com/rack" } },
        { type: "queue-scorer" },
      ],
    });
    expect(topology).toMatchObject({ rack: "example.com/rack" });
  });
});
