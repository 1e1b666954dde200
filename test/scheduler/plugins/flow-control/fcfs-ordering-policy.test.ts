import { fcfsOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/fcfs-ordering-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(fcfsOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
