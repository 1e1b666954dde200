// More documents at once than the caches hold: fairness may throw the cache away.

import { figuresOf } from "../outcome.ts";
import { DEFAULT_SHAPE } from "../pool-shape.ts";
import { simulate } from "../simulation.ts";
import { tenantsPhase } from "../workloads/tenants.ts";
import { flowControlled, GATE_OFF } from "./configurations.ts";
import { jainOfTenants } from "./figures.ts";
import { percent, type Scenario, seconds, SENT_FROM_MS } from "./scenario.ts";

const TENANTS = 200;
const RATE = 20;
const UNTIL_MS = 150_000;
const SLO = { ttftMs: 2_000, tpotMs: 100 };
const LOADS = Array.from({ length: TENANTS }, (_, i) => ({
  tenant: `t${i}`,
  rate: RATE / TENANTS,
  fromMs: 0,
  untilMs: UNTIL_MS,
  documents: 100,
  documentTokens: 16_000,
  questionTokens: 500,
  outputTokens: 200,
  questionsInARow: 8,
}));

const FAIRNESS = [
  "global-strict-fairness-policy",
  "round-robin-fairness-policy",
  "weighted-token-fairness",
  "locality-fairness",
];
const POLICIES = [GATE_OFF, ...FAIRNESS.map((fairness) => flowControlled(fairness, { fairness }))];

export const longDocuments: Scenario = {
  title: "Long documents of many tenants",
  about:
    "200 tenants, 20 requests/s together for 150 s, more than the pool can do under any policy; each asks eight " +
    "questions of 500 tokens in a row about a document of 16,000, answers of 200. All documents in use are 3.2 M tokens, the " +
    "caches hold 2.4 M. Tokens/s are until the last answer; Jain's index is of the tokens that tenants were served in the 150 s.",
  heads: ["Fairness", "TTFT p50", "p90", "Hits", "Tokens/s", "Jain"],
  run(onRow) {
    const rows = POLICIES.map((policy) => {
      const phases = [tenantsPhase(LOADS, 1)];
      const result = simulate({ shape: DEFAULT_SHAPE, policy, phases, seed: 1 });
      const figures = figuresOf(result, SLO);
      const jain = jainOfTenants(result.outcomes, SENT_FROM_MS, SENT_FROM_MS + UNTIL_MS);
      const row = [
        policy.name,
        seconds(figures.ttft_p50),
        seconds(figures.ttft_p90),
        percent(figures.hit_rate),
        figures.output_tokens_s.toFixed(0),
        jain.toFixed(2),
      ];
      onRow(row);
      return row;
    });
    return { rows };
  },
};
