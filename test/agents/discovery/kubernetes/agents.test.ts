// The real agents in a cluster: what the pool's object and clients see of pods that come and go.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  runAgentProcess,
  startAgentProcess,
  type AgentProcess,
} from "../../support/agent-process.ts";
import { kubeconfig } from "../../support/kubeconfig.ts";
import { pod } from "../../support/kubernetes-api.ts";
import { FakePoolObject } from "../../support/pool-object.ts";
import { startStubEngine } from "../../support/running-relay.ts";
import { KEY, sign } from "../../support/signing.ts";
import { Cluster, POOLS, pool } from "./harness.ts";

const ENV = {
  FAIRLEAD_AGENT_TOKEN: "an-agent-token-for-tests",
  FAIRLEAD_RELAY_KEYS: `${KEY.id}:${KEY.secret}`,
};
const PATIENT = { timeout: 15_000, interval: 20 };
const SLICES = "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices";

let cluster: Cluster;
let object: FakePoolObject;
const agents: AgentProcess[] = [];

beforeEach(async () => {
  cluster = await Cluster.start();
  object = await FakePoolObject.start();
});
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.child.kill("SIGKILL");
    await agent.exited;
  }
  await object.close();
  await cluster.stop();
});

function flags(role: string, ...more: string[]): string[] {
  const config = kubeconfig(cluster.directory, `http://127.0.0.1:${cluster.api.port}`);
  return [role, "--pool=p", `--connect=${object.url.href}`, `--kubeconfig=${config}`, ...more];
}
async function start(...args: string[]): Promise<AgentProcess> {
  const agent = await startAgentProcess(args, ENV);
  agents.push(agent);
  return agent;
}

const memberships = () =>
  object.frames.flatMap((frame) =>
    frame.kind === "membership" ? [frame.endpoints.map(({ id }) => id)] : [],
  );
async function health(agent: AgentProcess): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${String(agent.ready["adminPort"])}/health`);
  return { httpStatus: response.status, ...((await response.json()) as object) };
}

describe("a collector with --inference-pool", () => {
  it("tells the object which pods there are, and goes on while the API server is away", async () => {
    cluster.api.put(POOLS, pool([8000, 8001]));
    cluster.api.putPod(pod("a", "127.0.0.1"));
    const agent = await start(...flags("collector", "--inference-pool", "llm/llama"));
    await expect
      .poll(() => memberships().at(-1), PATIENT)
      .toEqual(["llm/a-rank-0", "llm/a-rank-1"]);
    await expect.poll(() => cluster.api.watchCount, PATIENT).toBe(2);
    cluster.api.putPod(pod("b", "127.0.0.2", { annotations: { "llm-d.ai/active-ports": "8001" } }));
    const three = ["llm/a-rank-0", "llm/a-rank-1", "llm/b-rank-1"];
    await expect.poll(() => memberships().at(-1), PATIENT).toEqual(three);
    cluster.api.fault = (_, response) => response.destroy() !== undefined;
    cluster.api.cut();
    await expect
      .poll(() => health(agent), PATIENT)
      .toMatchObject({ httpStatus: 200, endpoints: 3, endpointsTrouble: expect.any(String) });
    expect(memberships().at(-1)).toEqual(three);
    cluster.api.removePod("a");
    cluster.api.fault = undefined;
    await expect.poll(() => memberships().at(-1), PATIENT).toEqual(["llm/b-rank-1"]);
    await expect
      .poll(() => health(agent), PATIENT)
      .toMatchObject({ endpointsTrouble: null, endpointsAgeS: 0, endpointsLeftOut: 0 });
  });

  it("ends, saying why, where its kubeconfig is missing", async () => {
    const args = ["collector", "--pool", "p", "--connect", object.url.href];
    const more = ["--inference-pool", "llm/llama", "--kubeconfig", "/nowhere/config"];
    const { code, stderr } = await runAgentProcess([...args, ...more], ENV);
    expect(code).toBe(1);
    expect(stderr).toMatch(/ENOENT.*\/nowhere\/config/);
  });
});

describe("a relay with --service", () => {
  it("reaches the engines of the slices, and no other", async () => {
    await using engine = await startStubEngine();
    const port = Number(engine.address.split(":")[1]);
    const slice = (ready: boolean) => ({
      metadata: {
        name: "vllm-x",
        namespace: "llm",
        labels: { "kubernetes.io/service-name": "vllm" },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port }],
      endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready } }],
    });
    cluster.api.put(SLICES, slice(true));
    const agent = await start(
      ...flags("relay", "--listen", "127.0.0.1:0", "--service", "llm/vllm"),
    );
    const ask = async () => {
      const body = JSON.stringify({ model: "m", messages: [] });
      const headers = sign(engine.address, body);
      const url = `http://127.0.0.1:${String(agent.ready["port"])}/v1/chat/completions`;
      const response = await fetch(url, { method: "POST", headers, body });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await ask()).toBe(200);
    await expect.poll(() => cluster.api.watchCount, PATIENT).toBe(1);
    cluster.api.put(SLICES, slice(false));
    await expect.poll(ask, PATIENT).not.toBe(200);
    expect((await health(agent))["endpoints"]).toBe(0);
  });
});
