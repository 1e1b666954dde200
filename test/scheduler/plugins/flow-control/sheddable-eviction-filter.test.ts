import { sheddableEvictionFilter } from "../../../../src/scheduler/plugins/flow-control/sheddable-eviction-filter.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(sheddableEvictionFilter, {
  role: "eviction filter",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});
