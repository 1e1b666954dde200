import { describe, expect, it } from "vitest";
import {
  LABEL_VALUES_MAX,
  MetricRegistry,
  SERIES_MAX,
  type MetricDefinition,
} from "../../src/telemetry/metrics.ts";

const requests: MetricDefinition<"model"> = {
  name: "requests_total",
  kind: "counter",
  help: "Requests.",
  labels: ["model"],
};
const seconds: MetricDefinition<never> = {
  name: "seconds",
  kind: "histogram",
  help: "Seconds.",
  labels: [],
  buckets: [0.1, 1],
};

/** The value of the sample whose line starts with `prefix`. */
function sample(text: string, prefix: string): string | undefined {
  return text
    .split("\n")
    .find((line) => line.startsWith(`${prefix} `))
    ?.slice(prefix.length + 1);
}

describe("MetricRegistry", () => {
  it("counts by label", () => {
    const registry = new MetricRegistry();
    registry.inc(requests, { model: "a" });
    registry.inc(requests, { model: "a" }, 2);
    registry.inc(requests, { model: "b" });
    const text = registry.render();
    expect(sample(text, 'requests_total{model="a"}')).toBe("3");
    expect(sample(text, 'requests_total{model="b"}')).toBe("1");
    expect(text.match(/# TYPE requests_total counter/g)).toHaveLength(1);
  });

  it("renders cumulative buckets, a sum and a count", () => {
    const registry = new MetricRegistry();
    for (const value of [0.1, 0.5, 5]) registry.observe(seconds, {}, value);
    const text = registry.render();
    expect(sample(text, 'seconds_bucket{le="0.1"}')).toBe("1");
    expect(sample(text, 'seconds_bucket{le="1"}')).toBe("2");
    expect(sample(text, 'seconds_bucket{le="+Inf"}')).toBe("3");
    expect(sample(text, "seconds_sum")).toBe("5.6");
    expect(sample(text, "seconds_count")).toBe("3");
  });

  it("drops NaN, which would poison the sum", () => {
    const registry = new MetricRegistry();
    registry.observe(seconds, {}, Number.NaN);
    registry.observe(seconds, {}, 1);
    expect(sample(registry.render(), "seconds_sum")).toBe("1");
  });

  it("escapes what a label value may not hold", () => {
    const registry = new MetricRegistry();
    registry.inc(requests, { model: 'a"b\\c\nd' });
    expect(registry.render()).toContain('requests_total{model="a\\"b\\\\c\\nd"} 1');
  });

  it("counts label values past the limit as other", () => {
    const registry = new MetricRegistry();
    for (let i = 0; i < LABEL_VALUES_MAX + 5; i++) registry.inc(requests, { model: `m${i}` });
    const text = registry.render();
    expect(sample(text, 'requests_total{model="other"}')).toBe("5");
    expect(sample(text, `requests_total{model="m${LABEL_VALUES_MAX - 1}"}`)).toBe("1");
    expect(sample(text, `requests_total{model="m${LABEL_VALUES_MAX}"}`)).toBeUndefined();
  });

  it("bounds the series of a metric with several labels", () => {
    const pairs: MetricDefinition<"a" | "b"> = { ...requests, name: "pairs", labels: ["a", "b"] };
    const registry = new MetricRegistry();
    for (let i = 0; i < SERIES_MAX + 7; i++) {
      registry.inc(pairs, { a: String(i % 100), b: String(Math.floor(i / 100)) });
    }
    expect(sample(registry.render(), 'pairs{a="other",b="other"}')).toBe("7");
  });

  it("sets gauges from live state at render, and forgets what left", () => {
    const depth: MetricDefinition<"endpoint"> = {
      name: "depth",
      kind: "gauge",
      help: "Depth.",
      labels: ["endpoint"],
    };
    const registry = new MetricRegistry();
    let live = ["a", "b"];
    registry.onRender(() => {
      registry.reset(depth);
      for (const endpoint of live) registry.set(depth, { endpoint }, 1);
    });
    expect(registry.render()).toContain('depth{endpoint="b"} 1');
    live = ["a"];
    expect(registry.render()).not.toContain('endpoint="b"');
  });

  it("forgets the series of a label, and has room for another value in its place", () => {
    const pairs: MetricDefinition<"a" | "b"> = { ...requests, name: "pairs", labels: ["a", "b"] };
    const registry = new MetricRegistry();
    for (let i = 0; i < LABEL_VALUES_MAX; i++) registry.inc(pairs, { a: `v${i}`, b: "x" });
    registry.inc(pairs, { a: "v0", b: "y" });
    registry.forget(pairs, { a: "v0", b: "x" });
    registry.forget(pairs, { a: "v1" });
    registry.inc(pairs, { a: "late", b: "x" });
    const text = registry.render();
    expect(sample(text, 'pairs{a="v0",b="x"}')).toBeUndefined();
    expect(sample(text, 'pairs{a="v0",b="y"}')).toBe("1");
    expect(sample(text, 'pairs{a="v1",b="x"}')).toBeUndefined();
    expect(sample(text, 'pairs{a="late",b="x"}')).toBe("1");
  });

  it("has room for new label values of a gauge after its reset", () => {
    const registry = new MetricRegistry();
    for (let i = 0; i < LABEL_VALUES_MAX; i++) registry.set(requests, { model: `m${i}` }, 1);
    registry.reset(requests);
    registry.set(requests, { model: "late" }, 1);
    expect(sample(registry.render(), 'requests_total{model="late"}')).toBe("1");
  });
});
