// The processes contract, on the real processes.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runAgentProcess, startAgentProcess, type AgentProcess } from "./support/agent-process.ts";
import { FakePoolObject } from "./support/pool-object.ts";

const ENV = {
  FAIRLEAD_AGENT_TOKEN: "an-agent-token-for-tests",
  FAIRLEAD_RELAY_KEYS: "k1:a-relay-secret-for-tests",
};
const COLLECTOR = ["collector", "--pool", "p", "--connect", "http://localhost:1"];
const FRONT = ["front", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1"];

let directory: string;
let endpoints: string;
let object: FakePoolObject;
const agents: AgentProcess[] = [];

const poolFlags = () => ["--pool", "p", "--connect", object.url.href, "--endpoints", endpoints];

async function start(args: readonly string[]): Promise<AgentProcess> {
  const agent = await startAgentProcess(args, ENV);
  agents.push(agent);
  return agent;
}

const admin = (agent: AgentProcess, path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${String(agent.ready["adminPort"])}${path}`, init);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fairlead-main-"));
  endpoints = join(directory, "endpoints.yaml");
  await writeFile(endpoints, "endpoints: [{name: a, address: 127.0.0.1, port: 1}]");
  object = await FakePoolObject.start();
});
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.child.kill("SIGKILL");
    await agent.exited;
  }
  await object.close();
  await rm(directory, { recursive: true });
});

describe("a command line", () => {
  it.for([
    { args: [], says: /No role given/ },
    { args: ["pilot"], says: /Unknown role "pilot"/ },
    { args: ["front", "--upstream", "127.0.0.1:1", "--lisen", "x"], says: /Unknown flag --lisen/ },
    { args: ["front"], says: /--upstream unix:PATH\|HOST:PORT is required/ },
    { args: ["front", "--upstream"], says: /--upstream needs a value/ },
    {
      args: ["front", "--upstream", "127.0.0.1"],
      says: /--upstream must be unix:PATH .* or host:port/,
    },
    { args: ["front", "--upstream", `unix:/${"x".repeat(107)}`], says: /at most 107 bytes/ },
    {
      args: [...FRONT, "--connections-max", "0"],
      says: /--connections-max must be an integer from 1/,
    },
    { args: [...FRONT, "--listen", "127.0.0.1:0"], says: /--listen is given twice/ },
    { args: [...FRONT, "stray"], says: /"stray" is not a flag/ },
    {
      args: [...FRONT, "--log-level", "loud"],
      says: /--log-level must be one of debug, info, warn, error/,
    },
    { args: [...FRONT, "--exit-with-parent=no"], says: /--exit-with-parent takes no value/ },
    {
      args: ["relay"],
      says: /--pool NAME is required[^]*--connect URL is required/,
    },
    {
      args: ["collector", "--pool", "p", "--connect", "localhost:1", "--endpoints", "x"],
      says: /--connect must be a URL beginning with http/,
    },
    { args: [...COLLECTOR], says: /Exactly one of --endpoints FILE, --inference-pool NAMESPACE/ },
    {
      args: [...COLLECTOR, "--endpoints", "x", "--service", "llm/vllm"],
      says: /Exactly one of --endpoints/,
    },
    {
      args: [...COLLECTOR, "--inference-pool", "llama"],
      says: /--inference-pool must be NAMESPACE\/NAME, in lower-case/,
    },
    {
      args: [...COLLECTOR, "--inference-pool", "llm/llama", "--service-port", "http"],
      says: /--service-port needs --service/,
    },
    {
      args: [...COLLECTOR, "--endpoints", "x", "--kubeconfig", "y"],
      says: /--kubeconfig needs --inference-pool or --service/,
    },
    { args: ["sidecar"], says: /Exactly one of --endpoints/ },
  ])("$args is refused with status 2 and a sentence that helps", async ({ args, says }) => {
    const { code, stdout, stderr } = await runAgentProcess(args, ENV);
    expect(code).toBe(2);
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain("    at ");
    expect(stdout).toBe("");
  });

  it.for([
    { role: "relay", missing: "FAIRLEAD_AGENT_TOKEN" },
    { role: "relay", missing: "FAIRLEAD_RELAY_KEYS" },
    { role: "collector", missing: "FAIRLEAD_AGENT_TOKEN" },
  ])("$role without $missing says so", async ({ role, missing }) => {
    const env: Record<string, string> = { ...ENV };
    delete env[missing];
    const { code, stderr } = await runAgentProcess([role, ...poolFlags()], env);
    expect(code).toBe(2);
    expect(stderr).toContain(`${missing} is not set`);
  });

  it.for(["relay", "collector", "front"])("%s --help lists its flags", async (role) => {
    const { code, stdout, stderr } = await runAgentProcess([role, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: node src/agents/main.ts ${role} [flags]`);
    expect(stdout).toContain("--exit-with-parent");
    expect(stdout).toContain("(required)");
    expect(stderr).toBe("");
  });
});

describe("an agent", () => {
  it.for([
    { role: "front", args: () => FRONT, ports: ["port", "adminPort"] },
    {
      role: "relay",
      args: () => ["relay", "--listen", "127.0.0.1:0", ...poolFlags()],
      ports: ["port", "adminPort"],
    },
    { role: "collector", args: () => ["collector", ...poolFlags()], ports: ["adminPort"] },
    {
      role: "collector",
      args: () => ["collector", ...poolFlags(), "--kv-events", "connect"],
      ports: ["adminPort"],
    },
    {
      role: "collector",
      args: () => [
        "collector",
        ...poolFlags(),
        "--kv-events",
        "bind",
        "--kv-events-listen",
        "127.0.0.1:0",
      ],
      ports: ["adminPort", "kvEventsPort"],
    },
  ])(
    "$role prints one ready line, answers probes, and ends on SIGTERM with 0",
    async ({ role, args, ports }) => {
      const agent = await start(args());
      expect(agent.ready).toMatchObject({ ready: true, role });
      for (const port of ports) expect(agent.ready[port]).toBeGreaterThan(0);
      await vi.waitFor(async () => expect((await admin(agent, "/health")).status).toBe(200), {
        timeout: 15_000,
      });
      expect((await admin(agent, "/metrics")).headers.get("content-type")).toMatch(
        /^text\/plain; version=0.0.4/,
      );
      expect((await admin(agent, "/else")).status).toBe(404);
      expect((await admin(agent, "/health", { method: "POST" })).status).toBe(405);
      agent.child.kill("SIGTERM");
      expect(await agent.exited).toBe(0);
      expect(agent.output.stdout.split("\n")).toEqual([JSON.stringify(agent.ready), ""]);
      for (const line of agent.output.stderr.trim().split("\n")) {
        expect(JSON.parse(line)).toMatchObject({ role });
      }
      for (const secret of Object.values(ENV)) expect(agent.output.stderr).not.toContain(secret);
    },
  );

  it("is unhealthy while it is of no use, and says why", async () => {
    object.upgradeStatus = 401;
    const agent = await start(["collector", ...poolFlags()]);
    const health = await admin(agent, "/health");
    expect(health.status).toBe(503);
    expect(await health.json()).toEqual({
      status: "unhealthy",
      endpoints: 1,
      problem: "not connected to the pool's object",
    });
  });

  it("ends with its parent when asked to", async () => {
    const agent = await start([...FRONT, "--exit-with-parent"]);
    agent.child.stdin!.end();
    expect(await agent.exited).toBe(0);
  });

  it("outlives its parent's pipe otherwise", async () => {
    const agent = await start(FRONT);
    agent.child.stdin!.end();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await admin(agent, "/health")).status).toBe(200);
  });

  it("does not wait for ever for what it carries", async () => {
    const upstream = createServer().listen(0, "127.0.0.1");
    await once(upstream, "listening");
    const { port } = upstream.address() as AddressInfo;
    const agent = await start([
      "front",
      "--listen",
      "127.0.0.1:0",
      "--upstream",
      `127.0.0.1:${port}`,
    ]);
    const client = connect(agent.ready["port"] as number, "127.0.0.1").on("error", () => undefined);
    await once(client, "connect");
    agent.child.kill("SIGTERM");
    agent.child.kill("SIGINT");
    // The second signal means: now.
    expect(await agent.exited).toBe(1);
    client.destroy();
    upstream.close();
  });

  it("says plainly why it cannot start", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const busy = await runAgentProcess([
      "front",
      "--listen",
      `127.0.0.1:${port}`,
      "--upstream",
      "127.0.0.1:1",
    ]);
    expect(busy.code).toBe(1);
    expect(busy.stderr).toContain("EADDRINUSE");
    taken.close();
    await writeFile(endpoints, "endpoints: [{name: a}]");
    const bad = await runAgentProcess(["relay", "--listen", "127.0.0.1:0", ...poolFlags()], ENV);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain("endpoints[0].address");
    expect(bad.stdout).toBe("");
  });
});
