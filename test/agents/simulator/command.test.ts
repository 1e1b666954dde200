import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { readBody } from "./harness.ts";
import { findContradictions, withDefaults } from "../../../src/agents/simulator/parameters.ts";

function run(...args: string[]) {
  const child = spawn(process.execPath, ["src/agents/main.ts", "simulator", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (output.stdout += chunk));
  child.stderr.on("data", (chunk) => (output.stderr += chunk));
  return { child, output, exited: once(child, "close") };
}

async function ready(agent: ReturnType<typeof run>) {
  while (!agent.output.stdout.includes("\n")) {
    await Promise.race([once(agent.child.stdout, "data"), agent.exited]);
    if (agent.child.exitCode !== null) throw new Error(agent.output.stderr);
  }
  return JSON.parse(agent.output.stdout) as { ready: boolean; role: string; ports: number[] };
}

// Starting a process may take seconds on a busy machine.
describe("node src/agents/main.ts simulator", { timeout: 20_000 }, () => {
  it("prints one line when ready, serves, and exits 0 on SIGTERM", async () => {
    const agent = run("--port", "0", "--engines", "2", "--time-scale", "0.01", "--model", "m");
    const line = await ready(agent);
    expect(line).toMatchObject({ ready: true, role: "simulator" });
    expect(line.ports).toHaveLength(2);
    for (const port of line.ports) {
      const models = await readBody(fetch(`http://127.0.0.1:${port}/v1/models`));
      expect(models.data[0]!.id).toBe("m");
    }
    agent.child.kill("SIGTERM");
    expect((await agent.exited)[0]).toBe(0);
    expect(agent.output.stdout.trim().split("\n")).toHaveLength(1);
  });

  it("exits with its parent when told to", async () => {
    const agent = run("--port", "0", "--exit-with-parent");
    await ready(agent);
    agent.child.stdin.end();
    expect((await agent.exited)[0]).toBe(0);
  });

  it("takes the same ports again when they are named", async () => {
    const first = run("--port", "0", "--engines", "3");
    const { ports } = await ready(first);
    first.child.kill("SIGKILL");
    await first.exited;
    const again = run("--ports", ports.toReversed().join(","), "--engines", "3");
    expect((await ready(again)).ports).toEqual(ports.toReversed());
  });

  it("wants a port for each engine, and ports only", async () => {
    const short = run("--ports", "8001", "--engines", "2");
    expect((await short.exited)[0]).toBe(2);
    expect(short.output.stderr).toContain("--ports names 1 ports for 2 engines");
    const wrong = run("--ports", "8001,0", "--engines", "2");
    expect((await wrong.exited)[0]).toBe(2);
    expect(wrong.output.stderr).toContain("--ports must be ports, as 8001,8002");
  });

  it("gives its engines consecutive ports, and says which one is taken", async () => {
    const blocker = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void blocker.close());
    await once(blocker, "listening");
    const { port } = blocker.address() as AddressInfo;
    const agent = run("--port", String(port - 1), "--engines", "2");
    expect((await agent.exited)[0]).toBe(1);
    expect(agent.output.stderr).toContain("EADDRINUSE");
    expect(agent.output.stdout).toBe("");
  });

  it.for([
    { args: ["--engine", "3"], message: "Unknown flag --engine." },
    { args: ["--mode", "parrot"], message: "--mode must be one of random, echo." },
    { args: ["--inter-token-latency", "soon"], message: "must be a duration" },
    { args: ["--failures", '[{"kind":"x"}]'], message: "--failures must be a list of failures" },
    { args: ["--failure-types", "odd"], message: "--failure-types must be some of rate_limit" },
    { args: ["--kv-cache-size", "10"], message: "does not fit into the KV cache of 160 tokens" },
  ])("exits 2 for $args", async ({ args, message }) => {
    const agent = run(...args);
    expect((await agent.exited)[0]).toBe(2);
    expect(agent.output.stderr).toContain(message);
    expect(agent.output.stdout).toBe("");
  });

  it("takes durations with and without a unit", async () => {
    const agent = run(
      "--port=0",
      "--prefill-time-per-token=250us",
      "--prefill-overhead=1.5s",
      "--inter-token-latency=12",
      '--failures={"kind":"503"}',
    );
    expect((await ready(agent)).ready).toBe(true);
  });
});

describe("findContradictions", () => {
  it("finds none in the defaults", () => {
    expect(findContradictions(withDefaults({}))).toEqual([]);
  });

  it("reports all at once", () => {
    const mistakes = findContradictions(
      withDefaults({
        "max-num-batched-tokens": 10,
        "inter-token-latency-std-dev": 5,
        "kv-cache-size": 1,
        port: 65_535,
        engines: 2,
      }),
    );
    expect(mistakes).toHaveLength(4);
  });

  it("wants room for every window, and no blocks elsewhere", () => {
    const window = { "sliding-window": 128, "max-num-seqs": 10, "max-num-batched-tokens": 160 };
    const enough = { ...window, "sliding-window-blocks": 110 };
    expect(findContradictions(withDefaults(enough))).toEqual([]);
    expect(findContradictions(withDefaults({ ...enough, "sliding-window-blocks": 109 }))).toEqual([
      expect.stringContaining("--sliding-window-blocks must be at least 110"),
    ]);
    const elsewhere = { ...enough, "kv-offloading-blocks": 1, role: "prefill" } as const;
    const form = { ...withDefaults({})["kv-events-form"], fields: "medium" } as const;
    expect(findContradictions(withDefaults({ ...elsewhere, "kv-events-form": form }))).toHaveLength(
      3,
    );
  });
});
