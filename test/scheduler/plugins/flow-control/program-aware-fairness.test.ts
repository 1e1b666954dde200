import { programAwareFairness } from "../../../../src/scheduler/plugins/flow-control/program-aware-fairness.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(programAwareFairness, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {
    strategy: "las",
    lasWeightService: 0.8,
    lasWeightHeadWait: 0.2,
    lasHalfLifeSeconds: 60,
    evictionTtlSeconds: 3600,
    evictionSweepSeconds: 300,
  },
  refused: [
    { lasWeightService: -1 },
    { evictionSweepSeconds: 0 },
    { strategy: "vtc" },
    { lasDecayFactor: 0.9 },
  ],
});
