// Every workload that can be named on the command line.

import type { Workload } from "./workload.ts";
import { conversationWorkload, INTERACTIVE_CHAT } from "./workloads/conversations.ts";
import { traceWorkload } from "./workloads/mooncake-trace.ts";
import { type SharedPrefixShape, sharedPrefixWorkload } from "./workloads/shared-prefix.ts";

/** inference-perf's catalogue for reasoning: 2 s to the first token, 100 ms between tokens. */
const REASONING_SLO = { ttftMs: 2_000, tpotMs: 100 };
/** The same for interactive chat. */
const CHAT_SLO = { ttftMs: 1_000, tpotMs: 50 };
/** The same for code generation. */
const CODE_SLO = { ttftMs: 30_000, tpotMs: 100 };

export const OPTIMIZED_BASELINE: SharedPrefixShape = {
  groups: 150,
  promptsPerGroup: 5,
  systemTokens: 6_000,
  questionTokens: 1_200,
  outputTokens: 1_000,
  questions: "repeated",
  popularity: "even",
  warmUpRate: 15,
  // Longer than llm-d's stages of 20 to 40 s: requests take that long, and end before queues grow.
  stageS: 100,
};

export const WORKLOADS: readonly Workload[] = [
  sharedPrefixWorkload(
    {
      name: "shared-prefix",
      about: "llm-d guide_optimized-baseline_1: 150 × 5 prompts of 6000 + 1200, answers of 1000.",
      slo: REASONING_SLO,
      saturationRate: 28,
    },
    OPTIMIZED_BASELINE,
  ),
  sharedPrefixWorkload(
    {
      name: "shared-prefix-short",
      about: "llm-d guide_optimized-baseline_2: 150 × 5 prompts of 2000 + 500, answers of 500.",
      slo: REASONING_SLO,
      saturationRate: 200,
    },
    {
      ...OPTIMIZED_BASELINE,
      systemTokens: 2_000,
      questionTokens: 500,
      outputTokens: 500,
      stageS: 25,
    },
  ),
  sharedPrefixWorkload(
    {
      name: "shared-prefix-long",
      about: "llm-d guide_tiered-prefix-cache_1: 250 × 5 prompts of 16000 + 256, answers of 256.",
      slo: REASONING_SLO,
      saturationRate: 8.7,
    },
    {
      ...OPTIMIZED_BASELINE,
      groups: 250,
      systemTokens: 16_000,
      questionTokens: 256,
      outputTokens: 256,
      warmUpRate: 5,
    },
  ),
  sharedPrefixWorkload(
    {
      name: "fresh-questions",
      about: "shared-prefix, but no question is asked twice.",
      slo: REASONING_SLO,
      saturationRate: 20.5,
    },
    { ...OPTIMIZED_BASELINE, questions: "fresh" },
  ),
  sharedPrefixWorkload(
    {
      name: "zipf",
      about:
        "fresh-questions, but the k-th system prompt is asked for 1/k^1.1 as often as the first.",
      slo: REASONING_SLO,
      saturationRate: 20,
    },
    { ...OPTIMIZED_BASELINE, questions: "fresh", popularity: "zipf" },
  ),
  conversationWorkload(
    {
      name: "chat",
      about: "Lengths and pauses of llm-d's interactive-chat; conversations begin at a rate.",
      slo: CHAT_SLO,
      saturationRate: 16.5,
    },
    {
      ...INTERACTIVE_CHAT,
      requests: 4_000,
      warmUpShare: 0.5,
    },
  ),
  conversationWorkload(
    {
      name: "agentic",
      about: "Lengths of llm-d's guide_predicted-latency-routing_1, whose tools answer at once.",
      slo: CODE_SLO,
      saturationRate: 1,
    },
    {
      sharedTokens: 3_000,
      privateTokens: { kind: "uniform", min: 15_000, max: 100_000 },
      turns: { kind: "normal", min: 2, max: 20, mean: 6, stdDev: 3.5 },
      inputTokens: { kind: "lognormal", min: 100, max: 10_000, mean: 1_500, stdDev: 1_200 },
      outputTokens: { kind: "lognormal", min: 50, max: 4_000, mean: 800, stdDev: 600 },
      pauseS: undefined,
      modelLengthMax: 131_072,
      requests: 1_000,
      warmUpShare: 0.3,
    },
  ),
];

/** Run only when they are named: too many requests for a pool of eight. */
const LARGE_WORKLOADS: readonly Workload[] = [
  sharedPrefixWorkload(
    {
      name: "wide",
      about:
        "For 1,000 endpoints: 3000 system prompts of 2000 tokens, fresh questions, short answers.",
      slo: REASONING_SLO,
      saturationRate: 100,
    },
    {
      ...OPTIMIZED_BASELINE,
      groups: 3_000,
      promptsPerGroup: 1,
      systemTokens: 2_000,
      questionTokens: 500,
      outputTokens: 200,
      questions: "fresh",
      warmUpRate: 300,
      stageS: 4,
    },
  ),
];

/** The workloads that can be named; with a trace file, that trace alone. */
export function findWorkloads(traceFile: string | undefined): readonly Workload[] {
  return traceFile === undefined ? [...WORKLOADS, ...LARGE_WORKLOADS] : [traceWorkload(traceFile)];
}
