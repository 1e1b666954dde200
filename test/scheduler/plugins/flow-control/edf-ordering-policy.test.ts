import { edfOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/edf-ordering-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(edfOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
