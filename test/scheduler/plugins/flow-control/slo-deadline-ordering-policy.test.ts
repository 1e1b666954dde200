import { sloDeadlineOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/slo-deadline-ordering-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(sloDeadlineOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
