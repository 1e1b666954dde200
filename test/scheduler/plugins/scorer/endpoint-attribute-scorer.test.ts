import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

const KEY = "gpu";
const LOWER = { type: "linear_lower_is_better" };
const HIGHER = { type: "linear_higher_is_better" };

function scores(rows: readonly EndpointRow[], algorithm: object): number[] {
  const scorer = createScorer("endpoint-attribute-scorer", { attributeKey: KEY, algorithm });
  return scoresOf(scorer, pickContext(rows));
}

const rowsOf = (values: readonly number[]) =>
  values.map((value) => ({ scalars: { [KEY]: value } }));

describe("endpoint-attribute-scorer", () => {
  const fixed = { normalization: { fixedRange: { min: 10, max: 20 } } };

  it.for([
    { name: "less is better", values: [1, 2, 3], algorithm: LOWER, want: [1, 0.5, 0] },
    { name: "more is better", values: [1, 2, 3], algorithm: HIGHER, want: [0, 0.5, 1] },
    { name: "all are equal", values: [5, 5], algorithm: LOWER, want: [1, 1] },
    { name: "nobody tells", values: [NaN, NaN], algorithm: LOWER, want: [0, 0] },
    { name: "one does not tell", values: [1, NaN, 3], algorithm: LOWER, want: [1, 0, 0] },
    {
      name: "the range is fixed",
      values: [0, 10, 15, 30],
      algorithm: { ...HIGHER, ...fixed },
      want: [0, 0, 0.5, 1],
    },
    {
      name: "the range is the candidates' own, and they are close",
      values: [0.5, 0.51],
      algorithm: { ...LOWER, normalization: { adaptiveRange: {} } },
      want: [1, 0],
    },
  ])("scores where $name", ({ values, algorithm, want }) => {
    expect(scores(rowsOf(values), algorithm)).toEqual(want);
  });

  it("scores nobody by a key that is not there", () => {
    expect(scores([{}, {}], LOWER)).toEqual([0, 0]);
  });

  it("gives an endpoint that has stopped to report nothing, and leaves it out of the range", () => {
    const rows = [
      { scalars: { [KEY]: 0 }, ageMs: STALE_AFTER_MS + 1 },
      { scalars: { [KEY]: 1 } },
      { scalars: { [KEY]: 2 } },
    ];
    expect(scores(rows, LOWER)).toEqual([0, 1, 0]);
  });

  it("takes the number of an endpoint that has no load to report", () => {
    expect(scores([{ scalars: { [KEY]: 1 }, ageMs: Infinity }], LOWER)).toEqual([1]);
  });

  it.for([
    { name: "no key", params: { algorithm: LOWER } },
    { name: "no algorithm", params: { attributeKey: KEY } },
    {
      name: "two ranges",
      params: {
        attributeKey: KEY,
        algorithm: { ...LOWER, normalization: { ...fixed.normalization, adaptiveRange: {} } },
      },
    },
    {
      name: "an empty range",
      params: {
        attributeKey: KEY,
        algorithm: { ...LOWER, normalization: { fixedRange: { min: 1, max: 1 } } },
      },
    },
  ])("refuses $name", ({ params }) => {
    expect(pluginOf("endpoint-attribute-scorer").params.safeParse(params).success).toBe(false);
  });
});
