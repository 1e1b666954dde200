import { expect, it } from "vitest";
import { METRIC } from "../../src/telemetry/names.ts";

const definitions = Object.values(METRIC);

it("names every metric once", () => {
  const names = definitions.map((definition) => definition.name);
  expect(new Set(names).size).toBe(names.length);
});

it.for(definitions.map((definition) => [definition.name, definition] as const))(
  "%s follows Prometheus conventions",
  ([name, definition]) => {
    expect(name).toMatch(/^(llm_d_epp|fairlead)_[a-z0-9_]+$/);
    expect(name.endsWith("_total")).toBe(definition.kind === "counter");
    const buckets = definition.kind === "histogram" ? definition.buckets! : [0];
    expect(buckets.length).toBeGreaterThan(0);
    expect([...buckets].sort((a, b) => a - b)).toEqual([...buckets]);
  },
);
