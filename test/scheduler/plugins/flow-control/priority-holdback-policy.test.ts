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
