import { priorityThenTimeEvictionOrderPolicy } from "../../../../src/scheduler/plugins/flow-control/priority-then-time-eviction-order-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(priorityThenTimeEvictionOrderPolicy, {
  role: "eviction ordering policy",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
