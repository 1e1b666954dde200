import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { BENCHES } from "../../bench/benches.ts";
import { type Bench, runCommand } from "../../bench/command.ts";
import type { Measurement } from "../../bench/measure.ts";

const MAIN = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

function bench(name: string, needsProc = false): Bench {
  const measurement: Measurement = {
    against: "b",
    ratio: 0.5,
    unit: "us",
    value: 12.345_67,
    metric: "m",
    bench: name,
  };
  async function* measure() {
    yield measurement;
  }
  return { name, needsProc, measure };
}

async function run(args: string[], benches: Bench[], missingProc?: string) {
  const printed: string[] = [];
  const complaints: string[] = [];
  const code = await runCommand(args, {
    benches,
    missingProc,
    print: (line) => printed.push(line),
    complain: (text) => complaints.push(text),
  });
  return { code, printed, complaint: complaints.join("\n") };
}

describe("runCommand", () => {
  const two = [bench("one"), bench("two")];

  it("runs all benchmarks in order, or those that are named", async () => {
    const all = await run([], two);
    expect(all.printed.map((line) => line.split(" ")[0])).toEqual(["one", "two"]);
    const named = await run(["two"], two);
    expect(named.printed.map((line) => line.split(" ")[0])).toEqual(["two"]);
  });

  it("writes a row with the figure and what it is compared with", async () => {
    const { printed } = await run(["one"], two);
    expect(printed[0]).toMatch(/^one +m +12\.35 us +0\.500 × b$/);
  });

  it("writes one JSON object a line with --json", async () => {
    const { code, printed } = await run(["--json"], two);
    expect(code).toBe(0);
    expect(printed[0]).toBe(
      '{"bench":"one","metric":"m","value":12.34567,"unit":"us","ratio":0.5,"against":"b"}',
    );
    expect(printed).toHaveLength(2);
  });

  it("refuses a name it does not know before it runs any, and says which there are", async () => {
    const { code, printed, complaint } = await run(["one", "three"], two);
    expect(code).toBe(2);
    expect(printed).toEqual([]);
    expect(complaint).toContain("No benchmark is named three.");
    expect(complaint).toContain("one, two");
  });

  it("refuses a flag it does not know", async () => {
    const { code, complaint } = await run(["--jsn"], two);
    expect(code).toBe(2);
    expect(complaint).toContain("--jsn");
  });

  it("leaves out what needs /proc where there is none, and refuses it by name", async () => {
    const benches = [bench("proxy", true), bench("pick")];
    const all = await run([], benches, "needs Linux");
    expect(all.code).toBe(0);
    expect(all.printed).toHaveLength(1);
    expect(all.complaint).toBe("proxy needs Linux.");
    const named = await run(["proxy"], benches, "needs Linux");
    expect(named.code).toBe(2);
    expect(named.printed).toEqual([]);
  });
});

it("has the benchmarks that the documentation names", () => {
  expect(BENCHES.map(({ name }) => name)).toEqual([
    "proxy-json-4k",
    "proxy-json-400k",
    "proxy-sse-100",
    "proxy-3-pools",
    "shards",
    "local",
    "ways",
    "decision-1k-tokens",
    "decision-10k-tokens",
    "decision-100k-tokens",
    "pick-64",
    "pick-1000",
    "relay",
    "disaggregation",
    "prefix-tree",
    "digest",
    "pair-digest",
    "flow-control",
    "queue-drain",
    "kv-event-decoding",
    "kv-residency",
    "kv-stream",
    "kv-stream-socket",
    "kv-accuracy",
    "token-keys",
    "object-restart",
    "failover",
    "held-request",
    "queue",
  ]);
});

it("exits with 2 for an unknown name, with nothing on stdout", async () => {
  const ended = await new Promise((resolve) => {
    execFile(process.execPath, [MAIN, "--json", "pick-65"], (error, stdout) => {
      resolve({ code: error?.code, stdout });
    });
  });
  expect(ended).toEqual({ code: 2, stdout: "" });
});
