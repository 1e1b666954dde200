// The simulated engines against llm-d's published run: Qwen3-32B on 8 × 2 H100, the last stage of
// guide_optimized-baseline_1 (60 requests/s for 25 s). Both plateaus must come out before policies
// are compared.
//
// Source: llm-d guides/optimized-baseline/benchmark-results/vllm-qwen3-32b-h100.

import { describe, expect, it } from "vitest";
import { roundRobin } from "../../../bench/simulation/policies/round-robin.ts";
import { shipped } from "../../../bench/simulation/policies/shipped.ts";
import { figuresOf } from "../../../bench/simulation/outcome.ts";
import type { PolicyDefinition } from "../../../bench/simulation/policy.ts";
import { DEFAULT_SHAPE } from "../../../bench/simulation/pool-shape.ts";
import { simulate } from "../../../bench/simulation/simulation.ts";
import { OPTIMIZED_BASELINE as SHAPE, WORKLOADS } from "../../../bench/simulation/workloads.ts";
import { sharedPrefixWorkload } from "../../../bench/simulation/workloads/shared-prefix.ts";

const WORKLOAD = sharedPrefixWorkload(WORKLOADS[0]!, { ...SHAPE, stageS: 25 });
const RATE = 60;
const SEED = 1;

/** The guide's own profile: queue 2, KV cache 2, prefix 3, no-hit LRU 2. */
const OPTIMIZED_BASELINE = shipped(
  { name: "optimized-baseline", about: "" },
  {
    plugins: [
      { type: "queue-scorer" },
      { type: "kv-cache-utilization-scorer" },
      { type: "prefix-cache-scorer" },
      { type: "no-hit-lru-scorer" },
      { type: "max-score-picker" },
    ],
    schedulingProfiles: [
      {
        name: "default",
        plugins: [
          { pluginRef: "queue-scorer", weight: 2 },
          { pluginRef: "kv-cache-utilization-scorer", weight: 2 },
          { pluginRef: "prefix-cache-scorer", weight: 3 },
          { pluginRef: "no-hit-lru-scorer", weight: 2 },
          { pluginRef: "max-score-picker" },
        ],
      },
    ],
  },
);

function run(policy: PolicyDefinition) {
  const phases = WORKLOAD.create(RATE, SEED);
  return figuresOf(simulate({ shape: DEFAULT_SHAPE, policy, phases, seed: SEED }), WORKLOAD.slo);
}

describe("llm-d's shared-prefix run at 60 requests/s", () => {
  it("is the published stage", () => {
    const requests = WORKLOAD.create(RATE, SEED).map(({ sessions }) => sessions.length);
    expect(requests).toEqual([15 * 50, 60 * 25]);
  });

  it("round-robin's plateau is within 10%", () => {
    const { output_tokens_s, ttft_mean, tpot_mean } = run(roundRobin);
    expect(Math.abs(output_tokens_s / 6_551 - 1)).toBeLessThan(0.1);
    // Published as 75.6 s and 44.0 ms; not fitted as closely.
    expect(Math.abs(ttft_mean / 75.6 - 1)).toBeLessThan(0.15);
    expect(Math.abs(tpot_mean / 0.044 - 1)).toBeLessThan(0.15);
  });

  it("the optimized plateau is within 10%", () => {
    const { output_tokens_s, tpot_mean, ttft_p50 } = run(OPTIMIZED_BASELINE);
    expect(Math.abs(output_tokens_s / 17_064 - 1)).toBeLessThan(0.1);
    expect(Math.abs(tpot_mean / 0.047 - 1)).toBeLessThan(0.15);
    expect(ttft_p50).toBeLessThan(0.217);
  });
});
