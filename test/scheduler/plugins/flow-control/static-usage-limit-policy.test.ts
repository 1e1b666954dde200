import { expect, it } from "vitest";
import type { UsageLimitPolicy } from "../../../../src/scheduler/flow-control/contracts.ts";
import { usageLimitOf } from "../../support/flow-control.ts";
import { staticUsageLimitPolicy } from "../../../../src/scheduler/plugins/flow-control/static-usage-limit-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(staticUsageLimitPolicy, {
  role: "usage limit policy",
  stability: "beta",
  least: {},
  filled: { threshold: 1 },
  refused: [{ threshold: -0.1 }, { threshhold: 1 }],
});

function ceilings(policy: UsageLimitPolicy, saturation: number, priorities: number[]): number[] {
  const out = new Float64Array(priorities.length);
  policy.ceilings(saturation, priorities, out);
  return [...out];
}

it("has one ceiling for all", () => {
  const policy = usageLimitOf("static-usage-limit-policy", { threshold: 0.5 });
  expect(ceilings(policy, 0.9, [10, 0, -1])).toEqual([0.5, 0.5, 0.5]);
});
