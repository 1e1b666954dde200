import { expect, it } from "vitest";
import type { UsageLimitPolicy } from "../../../../src/scheduler/flow-control/contracts.ts";
import { usageLimitOf } from "../../support/flow-control.ts";
import { priorityHoldbackPolicy } from "../../../../src/scheduler/plugins/flow-control/priority-holdback-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(priorityHoldbackPolicy, {
  role: "usage limit policy",
  stability: "alpha",
  least: { minCeiling: 0.4 },
  filled: { shape: "linear", domain: "rank", minCeiling: 0.4, maxCeiling: 1 },
  refused: [
    {},
    { minCeiling: 1 },
    { minCeiling: 0.5, maxCeiling: 0.5 },
    { minCeiling: 0, maxCeiling: 1.1 },
    { minCeiling: 0, domain: "x" },
  ],
});

function ceilings(policy: UsageLimitPolicy, saturation: number, priorities: number[]): number[] {
  const out = new Float64Array(priorities.length);
  policy.ceilings(saturation, priorities, out);
  return [...out];
}

it.for([
  { domain: "rank", priorities: [100, 10, 0], want: [1, 0.7, 0.4] },
  { domain: "value", priorities: [100, 10, 0], want: [1, 0.46, 0.4] },
  { domain: "rank", priorities: [7], want: [1] },
  { domain: "value", priorities: [-7], want: [1] },
  { domain: "value", priorities: [0, -10], want: [1, 0.4] },
])("holds $priorities back by $domain", ({ domain, priorities, want }) => {
  const policy = usageLimitOf("priority-holdback-policy", { domain, minCeiling: 0.4 });
  const got = ceilings(policy, 0.5, priorities);
  expect(got).toHaveLength(want.length);
  for (const [i, ceiling] of got.entries()) expect(ceiling).toBeCloseTo(want[i]!, 12);
});
