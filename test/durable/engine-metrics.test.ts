import { describe, expect, it } from "vitest";
import { fromObjectSchema } from "../../src/agents/protocol/messages.ts";
import { ROW_FIELDS } from "../../src/agents/protocol/metrics-specification.ts";
import { configureMetrics } from "../../src/durable/engine-metrics.ts";
import { DEFAULT_SPECIFICATION } from "../../src/scheduler/data-layer/compile.ts";
import recorded from "../fixtures/protocol-v2.json" with { type: "json" };

describe("what a collector is told to read", () => {
  it("is the specification, and the same as plain fields in the order of its rows", () => {
    const told = configureMetrics(DEFAULT_SPECIFICATION, true);
    expect(told.specification).toEqual(DEFAULT_SPECIFICATION);
    expect(told.metrics.map(({ field }) => field)).toEqual([...ROW_FIELDS]);
    expect(configureMetrics(DEFAULT_SPECIFICATION, false)).toEqual({ metrics: told.metrics });
  });

  it("holds for a collector of the release before what the release before told it", () => {
    const before = fromObjectSchema.parse(JSON.parse(recorded.object.configure));
    if (before.t !== "configure") throw new Error("not a configure");
    const { metrics } = configureMetrics(DEFAULT_SPECIFICATION, false);
    expect(metrics.slice(0, before.metrics.length)).toEqual(before.metrics);
  });

  it("is the plain fields alone where the wire has no room for the specification", () => {
    const scalars = Array.from({ length: 9 }, (_, i) => `k${i}`);
    const told = configureMetrics({ ...DEFAULT_SPECIFICATION, scalars }, true);
    expect(told).not.toHaveProperty("specification");
    expect(told.metrics).toHaveLength(ROW_FIELDS.length);
  });

  it("follows the pool's own engines", () => {
    const engines = DEFAULT_SPECIFICATION.engines.map((engine) => ({
      ...engine,
      waiting: [{ series: "custom" }],
    }));
    const { metrics } = configureMetrics({ ...DEFAULT_SPECIFICATION, engines }, false);
    expect(metrics[0]!.sources).toEqual({
      vllm: [{ series: "custom" }],
      sglang: [{ series: "custom", match: { tp_rank: "0" } }, { series: "custom" }],
      "trtllm-serve": [{ series: "custom" }],
    });
  });
});
