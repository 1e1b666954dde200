import { expect, it } from "vitest";
import type { UsageLimitPolicy } from "../../../../src/scheduler/flow-control/contracts.ts";
import { usageLimitOf } from "../../support/flow-control.ts";
import { softReflectiveCeilingPolicy } from "../../../../src/scheduler/plugins/flow-control/soft-reflective-ceiling-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(softReflectiveCeilingPolicy, {
  role: "usage limit policy",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

function ceilings(policy: UsageLimitPolicy, saturation: number, priorities: number[]): number[] {
  const out = new Float64Array(priorities.length);
  policy.ceilings(saturation, priorities, out);
  return [...out];
}

const PRIORITIES = [10, 5, 0];

it.for([
  { name: "opens to all while the pool is idle", saturation: 0.3, want: [1, 1, 1] },
  { name: "closes to all but the highest when it is full", saturation: 1, want: [1, 0, 0] },
  { name: "also when it is more than full", saturation: 3, want: [1, 0, 0] },
])("$name", ({ saturation, want }) => {
  const policy = usageLimitOf("soft-reflective-ceiling-policy");
  expect(ceilings(policy, saturation, PRIORITIES)).toEqual(want);
});

it("lets those that are held back take turns, fewer the fuller the pool", () => {
  const openings = (saturation: number) => {
    const policy = usageLimitOf("soft-reflective-ceiling-policy");
    const turns = Array.from({ length: 60 }, () => ceilings(policy, saturation, PRIORITIES));
    expect(turns.every(([first]) => first === 1)).toBe(true);
    return [1, 2].map((i) => turns.filter((ceiling) => ceiling[i] === 1).length);
  };
  expect(openings(0.65)).toEqual([60, 30]);
  expect(openings(0.75)).toEqual([20, 20]);
  expect(openings(0.9)).toEqual([60 / 9, 60 / 9].map(Math.floor));
});

it("has nobody to hold back in a single band", () => {
  const policy = usageLimitOf("soft-reflective-ceiling-policy");
  expect(ceilings(policy, 2, [0])).toEqual([1]);
});
