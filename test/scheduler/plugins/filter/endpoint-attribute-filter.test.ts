import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const TYPE = "endpoint-attribute-filter";

function params(operator: string, value: number, more: object = {}): object {
  const algorithm = { type: "threshold", threshold: { operator, value } };
  return { attribute: "gpu_temp", algorithm, ...more };
}

describe("endpoint-attribute-filter", () => {
  const rows = [
    { scalars: { gpu_temp: 1 } },
    { scalars: { gpu_temp: 2 } },
    { scalars: { gpu_temp: 3 } },
  ];

  it.for([
    { operator: "LessThan", want: [0] },
    { operator: "LessThanOrEqual", want: [0, 1] },
    { operator: "GreaterThan", want: [2] },
    { operator: "GreaterThanOrEqual", want: [1, 2] },
    { operator: "Equal", want: [1] },
    { operator: "NotEqual", want: [0, 2] },
  ])("keeps what is $operator", ({ operator, want }) => {
    expect(keptBy(TYPE, params(operator, 2), pickContext(rows))).toEqual(want);
  });

  it.for([
    { onMissing: "Pass", want: [0, 1] },
    { onMissing: "Fail", want: [0] },
  ])("lets a missing value $onMissing", ({ onMissing, want }) => {
    const context = pickContext([{ scalars: { gpu_temp: 1 } }, {}]);
    expect(keptBy(TYPE, params("LessThan", 2, { onMissing }), context)).toEqual(want);
    const without = pickContext([{}, {}]);
    const kept = keptBy(TYPE, params("LessThan", 2, { onMissing }), without);
    expect(kept).toEqual(onMissing === "Pass" ? [0, 1] : []);
  });

  it.for([
    { onMissing: "Pass", want: [0, 2] },
    { onMissing: "Fail", want: [2] },
  ])("takes the value of an endpoint that fell silent for a missing one: $onMissing", (of) => {
    const told = { scalars: { gpu_temp: 1 } };
    const silent = { scalars: { gpu_temp: 1 }, ageMs: STALE_AFTER_MS + 1 };
    const hot = { scalars: { gpu_temp: 9 } };
    const given = params("LessThan", 2, { onMissing: of.onMissing });
    expect(keptBy(TYPE, given, pickContext([silent, hot, told]))).toEqual(of.want);
  });

  it("believes an endpoint that has no load to tell", () => {
    const neverSampled = { scalars: { gpu_temp: 1 }, ageMs: Infinity };
    const given = params("LessThan", 2, { onMissing: "Fail" });
    expect(keptBy(TYPE, given, pickContext([neverSampled]))).toEqual([0]);
  });

  it("keeps all where nobody is left, if so configured", () => {
    expect(keptBy(TYPE, params("LessThan", 0), pickContext(rows))).toEqual([]);
    const fallback = params("LessThan", 0, { fallbackOnEmpty: true });
    expect(keptBy(TYPE, fallback, pickContext(rows))).toEqual([0, 1, 2]);
  });

  it("says how to split an attribute that names its producer", () => {
    const mistake = params("Equal", 1, { attribute: "GPUUtilization/dcgm-extractor" });
    const { error } = pluginOf(TYPE).params.safeParse(mistake);
    expect(error?.issues[0]?.message).toContain('write what is behind the last "/" as producer');
    expect(accepts(TYPE, { ...mistake, producer: "" })).toBe(true);
  });

  it.for([
    params("Near", 1),
    params("Equal", 1, { attribute: "" }),
    params("Equal", 1, { onMissing: "pass" }),
    params("Equal", 1, { algorithm: { type: "threshold" } }),
    params("Equal", 1, { algorithm: { type: "linear" } }),
  ])("refuses %j", (mistake) => {
    expect(accepts(TYPE, mistake)).toBe(false);
  });
});
