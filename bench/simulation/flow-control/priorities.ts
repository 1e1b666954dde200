// A high band in a pool at three times its capacity, beside itself alone.

import { DEFAULT_SHAPE } from "../pool-shape.ts";
import type { PolicyDefinition } from "../policy.ts";
import { simulate } from "../simulation.ts";
import { tenantsPhase } from "../workloads/tenants.ts";
import { flowControlled, GATE_OFF } from "./configurations.ts";
import { tokensPerS, ttftS } from "./figures.ts";
import { type Scenario, seconds, SENT_FROM_MS, sentIn } from "./scenario.ts";

/** Requests a second that the pool can do, about. */
const CAPACITY = 80;
const HIGH = 0.2 * CAPACITY;
const UNTIL_MS = 60_000;
/** Before that engines fill their caches, with either load. */
const FROM_MS = 10_000;

const load = (tenant: string, priority: number, rate: number) => ({
  tenant,
  priority,
  rate,
  fromMs: 0,
  untilMs: UNTIL_MS,
  documents: 20,
  documentTokens: 2_000,
  questionTokens: 1_000,
  outputTokens: 200,
});
const ALONE = [load("high", 10, HIGH)];
const CROWDED = [...ALONE, load("low", 0, 3 * CAPACITY - HIGH)];

const utilization = (queueDepthThreshold: number) => ({
  type: "utilization-detector",
  parameters: { queueDepthThreshold },
});
const POLICIES = [
  GATE_OFF,
  flowControlled("queue 5", { detector: utilization(5) }),
  flowControlled("queue 5, ceiling 0.8", { detector: utilization(5), minCeiling: 0.8 }),
  flowControlled("queue 5, ceiling 0.6", { detector: utilization(5), minCeiling: 0.6 }),
  flowControlled("queue 2", { detector: utilization(2) }),
  flowControlled("queue 2, ceiling 0.8", { detector: utilization(2), minCeiling: 0.8 }),
];

export const priorities: Scenario = {
  title: "Priorities at three times the capacity",
  about:
    "Priority 10 sends a fifth of what the pool can do, priority 0 the rest of three times as much, for 60 s: " +
    "prompts of 3,000 tokens, two thirds of them one of 20 documents, answers of 200. `utilization-detector` with its queue " +
    "threshold, and priority-holdback-policy with the ceiling of the low band. Tokens/s are of the time in which both send; " +
    "drained is when the last low request had its answer, after the 60 s.",
  heads: ["Detector", "High p50", "p99", "p99, alone", "Ratio", "Low p50", "Tokens/s", "Drained"],
  run(onRow) {
    const alone = highOf(runWith(GATE_OFF, ALONE));
    const rows = POLICIES.map((policy) => {
      const outcomes = runWith(policy, CROWDED);
      const high = highOf(outcomes);
      const [p99, p99Alone] = [ttftS(high, 0.99), ttftS(alone, 0.99)];
      const lastMs = outcomes.reduce((last, { endedAtMs }) => Math.max(last, endedAtMs), 0);
      const row = [
        policy.name,
        seconds(ttftS(high, 0.5)),
        seconds(p99),
        seconds(p99Alone),
        (p99 / p99Alone).toFixed(1),
        seconds(
          ttftS(
            outcomes.filter(({ priority }) => priority === 0),
            0.5,
          ),
        ),
        tokensPerS(outcomes, SENT_FROM_MS + FROM_MS, SENT_FROM_MS + UNTIL_MS).toFixed(0),
        seconds((lastMs - SENT_FROM_MS - UNTIL_MS) / 1_000),
      ];
      onRow(row);
      return row;
    });
    return { rows };
  },
};

function runWith(policy: PolicyDefinition, loads: typeof ALONE) {
  const phases = [tenantsPhase(loads, 1)];
  return simulate({ shape: DEFAULT_SHAPE, policy, phases, seed: 1 }).outcomes;
}

function highOf(outcomes: ReturnType<typeof runWith>) {
  const high = outcomes.filter(({ priority }) => priority === 10);
  return sentIn(high, FROM_MS, UNTIL_MS);
}
