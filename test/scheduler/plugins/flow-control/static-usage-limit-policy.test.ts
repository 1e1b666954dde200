import { staticUsageLimitPolicy } from "../../../../src/scheduler/plugins/flow-control/static-usage-limit-policy.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(staticUsageLimitPolicy, {
  role: "usage limit policy",
  stability: "beta",
  least: {},
  filled: { threshold: 1 },
  refused: [{ threshold: -0.1 }, { threshhold: 1 }],
});
