// Who does better than whom, on fixed seeds. Absolute figures are not asserted: they move with every
// change of the model.

import { beforeAll, describe, expect, it } from "vitest";
import { runJob } from "../../../bench/simulation/job.ts";
import type { Figures } from "../../../bench/simulation/outcome.ts";
import { WORKLOADS } from "../../../bench/simulation/workloads.ts";

const POLICIES = ["round-robin", "llm-d-optimized", "ours"] as const;
type Name = (typeof POLICIES)[number];

describe("fresh-questions near saturation", () => {
  const { saturationRate } = WORKLOADS.find(({ name }) => name === "fresh-questions")!;
  const load = 0.8;
  const figures = {} as Record<Name, Figures>;

  beforeAll(() => {
    for (const policy of POLICIES) {
      const at = { workload: "fresh-questions", rate: load * saturationRate, load };
      figures[policy] = runJob({ ...at, policy, seed: 1, endpointCount: 8 }).figures;
    }
  }, 60_000);

  it("round-robin collapses: its requests wait ten times as long as they take", () => {
    expect(figures["round-robin"].ttft_p50).toBeGreaterThan(20);
    expect(figures["round-robin"].goodput).toBeLessThan(0.3 * figures["round-robin"].offered);
  });

  it("llm-d's weights keep what round-robin loses", () => {
    expect(figures["llm-d-optimized"].ttft_p90).toBeLessThan(figures["round-robin"].ttft_p90 / 10);
    expect(figures["llm-d-optimized"].goodput).toBeGreaterThan(3 * figures["round-robin"].goodput);
    expect(figures["llm-d-optimized"].hit_rate).toBeGreaterThan(figures["round-robin"].hit_rate);
  });

  it("ours is not behind", () => {
    const { ttft_p90, goodput } = figures["llm-d-optimized"];
    expect(figures.ours.goodput).toBeGreaterThanOrEqual(0.97 * goodput);
    expect(figures.ours.ttft_p90).toBeLessThanOrEqual(ttft_p90 / 0.97);
  });
});
