import { describe, expect, it } from "vitest";
import { CONFIGURATIONS } from "../../../../bench/simulation/disaggregation/configurations.ts";
import { runSplit, runDisaggregation } from "../../../../bench/simulation/disaggregation/report.ts";
import {
  splitPhase,
  SPLIT_WORKLOADS,
} from "../../../../bench/simulation/disaggregation/workloads.ts";

const workload = (name: string) => SPLIT_WORKLOADS.find((each) => each.name === name)!;
const configuration = (name: string) => CONFIGURATIONS.find((each) => each.name === name)!;
const run = (on: string, by: string, load: number) =>
  runSplit(workload(on), configuration(by), load);

describe("prefill and decode apart", () => {
  it("keeps long prompts out of the way of who is decoded", () => {
    const together = run("8k/200", "together", 0.75);
    const apart = run("8k/200", "always 4+4", 0.75);
    expect(together.split).toBe(0);
    expect(apart.split).toBe(1);
    expect(apart.shed).toBe(0);
    // A step that computes a prompt is as long as the prompt; one that only decodes is not.
    expect(together.gap_p99).toBeGreaterThan(0.4);
    expect(apart.gap_max).toBeLessThan(0.1);
  });

  it("splits only where the decider says so", { timeout: 60_000 }, () => {
    expect(run("8k/200", "predicted 4+4", 0.75).split).toBeGreaterThan(0.2);
    expect(run("short chat", "predicted 4+4", 0.2).split).toBe(0);
    expect(run("warm", "predicted 4+4", 0.2).split).toBeLessThan(0.01);
    expect(run("short chat", "always 4+4", 0.2).split).toBe(1);
  });

  it("counts as cached what the prefiller had", () => {
    expect(run("8k/200", "always 4+4", 0.2).hit_rate).toBe(0);
    expect(run("warm", "always 4+4", 0.2).hit_rate).toBeGreaterThan(0.9);
  });
});

describe("a workload", () => {
  it("is the same for the same seed, and has its kinds by their shares", () => {
    const mixed = workload("mixed");
    const { sessions } = splitPhase(mixed, 20, 1);
    expect(splitPhase(mixed, 20, 1).sessions).toEqual(sessions);
    const short = sessions.filter(({ turns }) => turns[0]!.request.promptTokens < 1_000);
    expect(short.length / sessions.length).toBeCloseTo(0.5, 1);
  });
});

describe("the report", () => {
  it("has a table for each workload", () => {
    const lines: string[] = [];
    const small = { ...workload("short chat"), rate: 1 };
    const output = { print: (text: string) => void lines.push(text), complain: () => {} };
    runDisaggregation(false, output, [small]);
    const text = lines.join("\n");
    expect(text).toContain("**short chat**, 1 requests/s");
    for (const { name } of CONFIGURATIONS) expect(text).toContain(`| ${name}`);
  });
});
