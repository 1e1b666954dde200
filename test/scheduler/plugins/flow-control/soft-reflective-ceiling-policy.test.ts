import { softReflectiveCeilingPolicy } from "../../../../src/scheduler/plugins/flow-control/soft-reflective-ceiling-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(softReflectiveCeilingPolicy, {
  role: "usage limit policy",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
