import { describe, expect, it } from "vitest";
import { gated } from "../../../bench/simulation/policies/gated.ts";
import { DEFAULT_SHAPE } from "../../../bench/simulation/pool-shape.ts";
import { simulate } from "../../../bench/simulation/simulation.ts";
import { tenantsPhase } from "../../../bench/simulation/workloads/tenants.ts";

const load = (tenant: string, priority: number, rate: number) => ({
  tenant,
  priority,
  rate,
  fromMs: 0,
  untilMs: 5_000,
  documents: 3,
  documentTokens: 1_000,
  questionTokens: 500,
  outputTokens: 20,
});

/** One request an endpoint at a time. */
function run(flowControl: object = {}) {
  const config = {
    featureGates: ["flowControl"],
    plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency: 1 } }],
    flowControl: { saturationDetector: { pluginRef: "concurrency-detector" }, ...flowControl },
  };
  const phases = [tenantsPhase([load("high", 10, 2), load("low", 0, 20)], 1)];
  const shape = { ...DEFAULT_SHAPE, endpointCount: 2 };
  return simulate({ shape, policy: gated({ name: "gated", about: "" }, config), phases, seed: 1 });
}

describe("a gated pool", () => {
  it("lets requests through by priority, each once, and all in the end", () => {
    const { outcomes } = run();
    expect(outcomes.every(({ isShed }) => !isShed)).toBe(true);
    const waits = (tenant: string) =>
      outcomes.filter((outcome) => outcome.tenant === tenant).map(({ waitMs }) => waitMs);
    expect(Math.max(...waits("high"))).toBeLessThan(2_000);
    expect(Math.max(...waits("low"))).toBeGreaterThan(10_000);
  });

  it("turns away whose time is over, and who finds the queue full", () => {
    const shed = (flowControl: object) => run(flowControl).outcomes.filter(({ isShed }) => isShed);
    const late = shed({ defaultRequestTTL: "3s" });
    expect(late.length).toBeGreaterThan(10);
    for (const { waitMs } of late) expect(Math.abs(waitMs - 3_000)).toBeLessThan(300);
    const full = shed({ defaultPriorityBand: { maxRequests: 5 } });
    expect(full.length).toBeGreaterThan(10);
    for (const { waitMs } of full) expect(waitMs).toBe(0);
  });
});
