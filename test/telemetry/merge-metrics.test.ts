import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeMetrics } from "../../src/telemetry/merge-metrics.ts";
import { type MetricDefinition, MetricRegistry } from "../../src/telemetry/metrics.ts";
import { METRIC } from "../../src/telemetry/names.ts";
import { gaugeRuleOf } from "../../src/telemetry/shard-gauges.ts";
import { scanPrometheus } from "../../src/telemetry/prometheus-scanner.ts";

const COUNTER = { name: "c", kind: "counter", help: "Counts.", labels: ["a"] } as const;
const HISTOGRAM = {
  name: "h",
  kind: "histogram",
  help: "Observes.",
  labels: ["a", "b"],
  buckets: [1, 10],
} as const;

type Act = readonly [shard: number, metric: 0 | 1, label: string, value: number];

function apply(registry: MetricRegistry, [, metric, a, value]: Act): void {
  if (metric === 0) registry.inc(COUNTER, { a }, value);
  else registry.observe(HISTOGRAM, { a, b: "x y" }, value);
}

const textOf = (acts: readonly Act[]) => {
  const registry = new MetricRegistry();
  for (const act of acts) apply(registry, act);
  return registry.render();
};

const linesOf = (text: string) => text.split("\n").toSorted();

/** A text with one gauge of this value in each of several objects. */
function gauges(definition: MetricDefinition, values: readonly number[]): number | undefined {
  const labels = Object.fromEntries(definition.labels.map((label) => [label, "x"]));
  const texts = values.map((value) => {
    const registry = new MetricRegistry();
    registry.set(definition, labels, value);
    return registry.render();
  });
  return scanPrometheus(mergeMetrics(texts), [{ series: definition.name }])[0];
}

describe("mergeMetrics", () => {
  it("makes of the counters and histograms of parts those of the whole", () => {
    const act = fc.tuple(
      fc.nat(3),
      fc.constantFrom(0 as const, 1 as const),
      fc.constantFrom("p", "q", 'a "b" 7', "line\nbreak", "\\", "{x}", " "),
      fc.nat(20),
    );
    fc.assert(
      fc.property(fc.array(act), (acts) => {
        const parts = [0, 1, 2, 3].map((shard) => textOf(acts.filter(([at]) => at === shard)));
        expect(linesOf(mergeMetrics(parts))).toEqual(linesOf(textOf(acts)));
      }),
    );
  });

  it("names no series and no metric twice", () => {
    const act: Act = [0, 1, "p", 3];
    const merged = mergeMetrics([textOf([act]), textOf([act]), textOf([[1, 0, "q", 1]])]);
    const names = merged
      .trim()
      .split("\n")
      .map((line) => line.slice(0, line.lastIndexOf(" ")));
    expect(new Set(names).size).toBe(names.length);
  });

  it("gives one text back as it is, and nothing of none", () => {
    const text = textOf([[0, 0, "p", 1]]);
    expect(mergeMetrics([text])).toBe(text);
    expect(mergeMetrics([])).toBe("");
  });

  it.for([
    { metric: METRIC.ticketsOpen, values: [3, 0, 4], merged: 7 },
    { metric: METRIC.averageKvUsage, values: [0.5, 0.25], merged: 0.375 },
    { metric: METRIC.agentsConnected, values: [2, 3, 3], merged: 3 },
    { metric: METRIC.readyEndpoints, values: [4, 4, 1], merged: 1 },
    { metric: METRIC.directoryAgeSeconds, values: [1, 5, 2], merged: 5 },
  ])("merges the gauge $metric.name by its rule", ({ metric, values, merged }) => {
    expect(gauges(metric, values)).toBe(merged);
  });

  it("knows an endless queue", () => {
    const registry = new MetricRegistry();
    registry.set(METRIC.averageQueueSize, { name: "x" }, Infinity);
    expect(mergeMetrics([registry.render(), registry.render()])).toContain('{name="x"} +Inf');
  });
});

it("has rules of gauges alone", () => {
  const ruled = Object.values<MetricDefinition>(METRIC).filter(
    ({ name }) => gaugeRuleOf(name) !== undefined,
  );
  expect(ruled.length).toBeGreaterThan(20);
  expect(ruled.filter(({ kind }) => kind !== "gauge")).toEqual([]);
});
