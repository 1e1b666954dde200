import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const TYPE = "slo-headroom-tier-filter";
const NONE = [NaN, NaN] as const;

/** Headrooms for TTFT and TPOT, one pair an endpoint. */
function kept(
  headrooms: readonly (readonly [number, number])[],
  params: object = {},
  seed = 1,
): number[] {
  const count = headrooms.length;
  const context = pickContext(
    headrooms.map(() => ({})),
    {
      seed,
      data: {
        "latency-prediction": {
          isPredicted: Uint8Array.from(headrooms, ([ttft]) => Number(!Number.isNaN(ttft))),
          ttftMs: new Float64Array(count),
          tpotMs: new Float64Array(count),
          ttftHeadroomMs: Float64Array.from(headrooms, ([ttft]) => ttft),
          tpotHeadroomMs: Float64Array.from(headrooms, ([, tpot]) => tpot),
          dispatchedRequests: new Int32Array(count),
        },
      },
    },
  );
  return keptBy(TYPE, params, context);
}

describe("slo-headroom-tier-filter", () => {
  const never = { epsilonExploreNeg: 0 };

  it.for([
    { name: "those that meet both", of: [[0, 0], [1, -1], [-1, 1], NONE], want: [0] },
    { name: "all where nobody meets them", of: [[-1, 0], [0, -1], NONE], want: [0, 1, 2] },
    {
      name: "all where everybody does",
      of: [
        [1, 1],
        [0, 5],
      ],
      want: [0, 1],
    },
    { name: "all where nothing is predicted", of: [NONE, NONE], want: [0, 1] },
    { name: "a single candidate", of: [[-1, -1]], want: [0] },
  ] as const)("keeps $name", ({ of, want }) => {
    expect(kept(of, never)).toEqual(want);
  });

  it("explores the others as often as it is told", () => {
    const of = [[1, 1], [-1, 1], NONE] as const;
    expect(kept(of, { epsilonExploreNeg: 1 })).toEqual([1, 2]);
    let explored = 0;
    for (let seed = 0; seed < 2_000; seed++)
      if (kept(of, { epsilonExploreNeg: 0.1 }, seed)[0] === 1) explored++;
    expect(Math.abs(explored - 200)).toBeLessThan(70);
  });

  it("keeps all without a producer", () => {
    expect(keptBy(TYPE, {}, pickContext([{}, {}]))).toEqual([0, 1]);
  });

  it("refuses a chance over 1", () => {
    expect(accepts(TYPE, { epsilonExploreNeg: 1.01 })).toBe(false);
  });
});
