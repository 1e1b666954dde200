import { roundRobinFairnessPolicy } from "../../../../src/scheduler/plugins/flow-control/round-robin-fairness-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(roundRobinFairnessPolicy, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
