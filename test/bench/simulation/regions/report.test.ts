import { describe, expect, it } from "vitest";
import { CHOICES } from "../../../../bench/simulation/regions/choices.ts";
import { type RegionalJob, runRegionalJob } from "../../../../bench/simulation/regions/job.ts";
import { runRegions } from "../../../../bench/simulation/regions/report.ts";
import {
  marksWithoutEnd,
  runStuckOverload,
} from "../../../../bench/simulation/regions/stuck-overload.ts";

/** Small: what takes minutes is `npm run bench:simulation -- --regions`. */
function run(scenario: string, choice: string, more: Partial<RegionalJob> = {}) {
  const job = { scenario, choice, seed: 1, load: 1, topology: {}, requests: 500, ...more };
  return runRegionalJob(job).figures;
}

describe("three regions", () => {
  it("gives the same figures each time", () => {
    const small = { requests: 100 };
    expect(run("day", "ours", small)).toEqual(run("day", "ours", small));
  });

  it("serves everybody, whoever chooses", () => {
    const sheds = CHOICES.map(({ name }) => run("night", name, { requests: 100 }).shed);
    expect(sheds).toEqual(CHOICES.map(() => 0));
  });

  it("takes an overloaded region's requests to where there is room", () => {
    const ours = run("overload", "ours");
    const own = run("overload", "regional optimum");
    expect(ours.cross).toBeGreaterThan(0.05);
    expect(ours.ttft_p50).toBeLessThan(own.ttft_p50);
    expect(ours.ttft_p90).toBeLessThan(own.ttft_p90);
    expect(ours.goodput).toBeGreaterThan(own.goodput);
  });

  it("keeps requests at home while there is room, and their caches with them", () => {
    const ours = run("night", "ours");
    expect(ours.cross).toBeLessThan(0.05);
    const spread = run("night", "least loaded");
    expect(ours.hit_rate).toBeGreaterThan(spread.hit_rate);
    expect(ours.ttft_p50).toBeLessThan(spread.ttft_p50);
    expect(ours.ttft_p90).toBeLessThan(spread.ttft_p90);
  });

  it("does not send sessions to and fro when a pool comes and goes", () => {
    const ours = run("flapping", "ours");
    expect(ours.switches).toBeLessThanOrEqual(6);
    expect(ours.broken).toBeLessThan(run("flapping", "nearest").broken);
  });
});

describe("a stuck overload", () => {
  it("ends within 1.1 s of the pools being idle", () => {
    const [ours] = CHOICES;
    const { refused, refusedAfter, recoveredMs } = runStuckOverload(ours!);
    expect(refused).toBeGreaterThan(100);
    expect(refusedAfter).toBe(0);
    expect(recoveredMs).toBeLessThan(1_100);
  });

  it("is one where marks have no end", () => {
    const { refusedAfter, sentAfter } = runStuckOverload(marksWithoutEnd);
    expect(refusedAfter).toBe(sentAfter);
  });
});

describe("the report", () => {
  it("has a quick one", async () => {
    const lines: string[] = [];
    const output = { print: (text: string) => void lines.push(text), complain: () => {} };
    await runRegions({ isDocumented: false, isQuick: true }, output);
    expect(lines.join("\n")).toMatch(/^\*\*overload\*\*[^|]+\| Choice .*\n\| -.*\n\| ours /);
  });
});
