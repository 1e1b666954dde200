// Every workload that can be named on the command line.

import type { Workload } from "./workload.ts";
import { traceWorkload } from "./workloads/mooncake-trace.ts";
import { sharedPrefixWorkload, type SharedPrefixShape } from "./workloads/shared-prefix.ts";

const SOURCE = "llm-d's guide_optimized-baseline_1";

/** 150 groups × 5 prompts, 6000 + 1200 tokens, answers of 1000. */
const OPTIMIZED_BASELINE: SharedPrefixShape = {
  groups: 150,
  promptsPerGroup: 5,
  systemTokens: 6_000,
  questionTokens: 1_200,
  outputTokens: 1_000,
  questions: "repeated",
  popularity: "even",
  warmUpRate: 15,
  requests: 1_500,
};

export const WORKLOADS: readonly Workload[] = [
  sharedPrefixWorkload(
    {
      name: "shared-prefix",
      about: `${SOURCE}: 150 × 5 prompts of 6000 + 1200 tokens, answers of 1000.`,
      slo: { ttftMs: 2_000, tpotMs: 100 },
      saturationRate: 20,
    },
    OPTIMIZED_BASELINE,
  ),
];

/** The workloads there are; with a trace file, that trace alone. */
export function findWorkloads(traceFile: string | undefined): readonly Workload[] {
  return traceFile === undefined ? WORKLOADS : [traceWorkload(traceFile)];
}
