import { globalStrictFairnessPolicy } from "../../../../src/scheduler/plugins/flow-control/global-strict-fairness-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(globalStrictFairnessPolicy, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
