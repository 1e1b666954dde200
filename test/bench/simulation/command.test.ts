import { describe, expect, it } from "vitest";
import { runCommand } from "../../../bench/simulation/command.ts";
import type { Job, JobResult } from "../../../bench/simulation/job.ts";
import { figuresOf } from "../../../bench/simulation/outcome.ts";

const TRACE = "test/fixtures/traces/mooncake-conversation-300.jsonl";

/** Runs the command with jobs that take no time, and whose goodput is their seed. */
async function run(args: string[]) {
  const printed: string[] = [];
  const complaints: string[] = [];
  let asked: readonly Job[] = [];
  const status = await runCommand(args, {
    runJobs: async (jobs, _, onResult) => {
      asked = jobs;
      return jobs.map((job): JobResult => {
        const usage = { promptTokens: 10, cachedTokens: 5, outputTokens: 20, isShed: false };
        const of = { tenant: "t", priority: 0, waitMs: 0 };
        const times = { ...of, sentAtMs: 0, endedAtMs: 2_000, ttftMs: 123.456, tpotMs: 40 };
        const outcomes = [
          { ...times, ...usage },
          { ...times, ...usage, sentAtMs: 1_000 },
        ];
        const slo = { ttftMs: 1_000, tpotMs: 100 };
        const figures = figuresOf({ outcomes, imbalance: 1, virtualMs: 0 }, slo);
        const result = { job, figures: { ...figures, goodput: job.seed }, wallMs: 1 };
        onResult(result);
        return result;
      });
    },
    print: (text) => printed.push(text),
    complain: (text) => complaints.push(text),
  });
  return { status, printed, complaints: complaints.join("\n"), asked };
}

describe("bench:simulation", () => {
  it("runs every policy on each workload at each load and seed", async () => {
    const { asked } = await run("--loads 0.5,1 --seeds 1,2,3 --policies random,ours".split(" "));
    const workloads = new Set(asked.map(({ workload }) => workload));
    expect(workloads.size).toBeGreaterThanOrEqual(7);
    expect(asked).toHaveLength(workloads.size * 2 * 3 * 2);
  });

  it("prints a row for each workload, rate and policy: the mean over seeds", async () => {
    const { printed, status } = await run(
      "--json --workloads zipf --rates 5 --seeds 1,2 --policies ours".split(" "),
    );
    expect(status).toBe(0);
    expect(printed).toHaveLength(1);
    expect(JSON.parse(printed[0]!)).toMatchObject({
      workload: "zipf",
      rate: 5,
      policy: "ours",
      ttft_p50: 0.1235,
      ttft_p90: 0.1235,
      ttft_p99: 0.1235,
      tpot_p50: 0.04,
      goodput: 1.5,
      output_tokens_s: 20,
      hit_rate: 0.5,
      shed: 0,
    });
  });

  it("prints a table", async () => {
    const { printed } = await run("--workloads zipf --rates 5 --policies ours,random".split(" "));
    expect(printed[0]).toMatch(/^zipf, 5\.00 requests\/s/);
    expect(printed[0]).toMatch(/\nours +0\.123 /);
    expect(printed[0]).toMatch(/\nrandom /);
  });

  it("takes a trace instead of its workloads", async () => {
    const { asked } = await run(`--workload ${TRACE} --loads 1 --policies ours`.split(" "));
    expect(asked.map(({ workload }) => workload)).toEqual(["trace"]);
  });

  it("asks pools of other sizes for as much an endpoint", async () => {
    const one = await run("--workloads zipf --loads 1 --policies ours".split(" "));
    const ten = await run("--workloads zipf --loads 1 --policies ours --endpoints 80".split(" "));
    expect(ten.asked[0]!.rate / one.asked[0]!.rate).toBeCloseTo(10);
  });

  it.for([
    { args: "--policies bogus", says: "No policy is named bogus: there are random," },
    { args: "--workloads bogus", says: "No workload is named bogus: there are shared-prefix," },
    {
      args: "--loads x",
      says: "--loads takes positive numbers with commas between them, and got x",
    },
    { args: "--rates 0", says: "--rates takes positive numbers" },
    { args: "--workload nowhere.jsonl", says: "nowhere.jsonl" },
    { args: "--bogus", says: "--bogus" },
  ])("refuses $args and says what it takes", async ({ args, says }) => {
    const { status, complaints, asked } = await run(args.split(" "));
    expect(status).toBe(2);
    expect(complaints).toContain(says);
    expect(complaints).toContain("Usage: npm run");
    expect(asked).toEqual([]);
  });
});
