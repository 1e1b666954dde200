// Saturation detectors beside each other, on pools at one and a half times what they can do in time.

import { figuresOf, type Outcome } from "../outcome.ts";
import { DEFAULT_SHAPE } from "../pool-shape.ts";
import { simulate } from "../simulation.ts";
import { WORKLOADS } from "../workloads.ts";
import { flowControlled, GATE_OFF } from "./configurations.ts";
import { percent, type Scenario, seconds } from "./scenario.ts";

const LOAD = 1.5;
const SHOWN = ["shared-prefix", "zipf"];
const DETECTORS = ["utilization-detector", "concurrency-detector", "predicted-ttft-detector"];
const POLICIES = [
  GATE_OFF,
  ...DETECTORS.map((type) => flowControlled(type, { detector: { type } })),
];

export const detectors: Scenario = {
  title: "Saturation detectors",
  about:
    "Each with its defaults at 1.5 of the workload's saturation, every request a tenant of its own. Of the waiting before " +
    "a first token, the share that was spent in the queue is where priority and fairness have a say; the rest is spent in " +
    "engines. Tokens/s are until the last answer.",
  heads: ["Workload", "Detector", "TTFT p50", "p90", "TPOT p50", "Tokens/s", "In the queue"],
  run(onRow) {
    const workloads = WORKLOADS.filter(({ name }) => SHOWN.includes(name));
    const rows = workloads.flatMap((workload) => {
      const phases = workload.create(LOAD * workload.saturationRate, 1);
      return POLICIES.map((policy) => {
        const result = simulate({ shape: DEFAULT_SHAPE, policy, phases, seed: 1 });
        const figures = figuresOf(result, workload.slo);
        const row = [
          workload.name,
          policy.name,
          seconds(figures.ttft_p50),
          seconds(figures.ttft_p90),
          `${(1_000 * figures.tpot_p50).toFixed(0)} ms`,
          figures.output_tokens_s.toFixed(0),
          percent(queuedShare(result.outcomes)),
        ];
        onRow(row);
        return row;
      });
    });
    return { rows };
  },
};

function queuedShare(outcomes: readonly Outcome[]): number {
  let waitMs = 0;
  let ttftMs = 0;
  for (const outcome of outcomes) {
    waitMs += outcome.waitMs;
    ttftMs += outcome.ttftMs;
  }
  return waitMs / ttftMs;
}
