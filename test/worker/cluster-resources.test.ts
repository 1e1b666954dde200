// Objectives and rewrites of a cluster on the whole way: a collector tells them, requests use them.

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ResourcesPayload } from "../../src/agents/protocol/resources.ts";
import type { PoolResources } from "../../src/durable/directory/contract.ts";
import { forgetDirectory } from "../../src/worker/directory.ts";
import { endpoint, POOL, type TestAgent, until } from "../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
  MODEL,
  seenBy,
} from "./support/deployment.ts";

const exact = (value: string) => [{ model: { value } }];
const rewrite = (name: string, from: string, to: string) => ({
  name,
  creationTimestamp: "2026-01-01T00:00:00Z",
  rules: [{ matches: exact(from), targets: [{ modelRewrite: to }] }],
});
const TOLD = {
  objectives: [
    { name: "bulk", priority: -7 },
    { name: "gold", priority: 50 },
    { name: "own", priority: -1 },
  ],
  rewrites: [
    rewrite("aliases", "fast", "acme/of-the-cluster"),
    rewrite("kept", "schnell", "acme/of-the-cluster"),
    rewrite("older", "owned", "acme/of-the-cluster"),
  ],
};
const OWN = {
  objectives: [{ name: "own", priority: -3 }],
  modelRewrites: [
    {
      name: "kept",
      rules: [
        { matches: exact("owned"), targets: [{ modelRewrite: "acme/of-the-operator" }] },
        { matches: exact("kept-own"), targets: [{ modelRewrite: "acme/of-the-operator" }] },
      ],
    },
  ],
};

let collector: TestAgent;

async function configure(fields: object): Promise<void> {
  const { pools, ...rest } = configuration();
  await applyConfiguration({
    ...rest,
    pools: pools.map((pool) => (pool.name === POOL ? { ...pool, ...fields } : pool)),
  });
}

/** Until the directory has what the collector tells: of objectives, those that are `good`. */
async function tell(
  resources: ResourcesPayload,
  good = (resources.objectives ?? []).map(({ name }) => name),
): Promise<void> {
  const known = { epoch: "", revision: 0, digests: [], resources: 0 };
  collector.resources(resources);
  await until(async () => {
    // Whoever was told just now is told again when the collector speaks.
    collector.membership([endpoint(1)]);
    const { pools } = await env.CONTROL.readConfig(-1, known);
    const told = pools!.resources!.pools.map(({ json }) => JSON.parse(json) as PoolResources);
    const { objectives = [] } = told.find(({ pool }) => pool === POOL) ?? {};
    return objectives.map(({ name }) => name).join() === good.join();
  });
  forgetDirectory();
}

beforeEach(async () => {
  collector = await deploy(1);
});
afterEach(() => {
  collector.close();
  forgetDirectory();
});

async function sent(fields: Readonly<Record<string, unknown>>) {
  const response = await chat(chatBody(fields));
  const body = await response.text();
  if (response.status !== 200) return { status: response.status, body };
  const seen = await seenBy(response);
  return { status: 200, model: (JSON.parse(seen.body) as { model: string }).model };
}

async function priorityOf(objective: string): Promise<number> {
  const response = await chat(chatBody(), { "x-llm-d-inference-objective": objective });
  expect(response.status).toBe(200);
  await response.body?.cancel();
  const id = response.headers.get("x-fairlead-request-id")!;
  const page = await env.POOLS.decisions(POOL, { agoMs: 60_000, limit: 50 });
  const { attempt } = page.decisions.find(({ requestId }) => requestId === id)!;
  return attempt.priority;
}

describe("objectives of a cluster", () => {
  it("are named by requests, below the tenant's ceiling, and the configuration's own win", async () => {
    await configure(OWN);
    await tell(TOLD);
    expect(await priorityOf("bulk")).toBe(-7);
    expect(await priorityOf("gold")).toBe(3);
    expect(await priorityOf("own")).toBe(-3);
    expect(await priorityOf("nobody-s")).toBe(3);
  });

  it("follow the cluster, though the configuration stays", async () => {
    await tell(TOLD);
    expect(await priorityOf("bulk")).toBe(-7);
    // Not forgotten: the isolate finds out by itself.
    collector.resources({ objectives: [{ name: "bulk", priority: -8 }], rewrites: [] });
    await until(async () => {
      collector.membership([endpoint(1)]);
      return (await priorityOf("bulk")) === -8;
    });
  });

  it("count for nothing where the pool does not allow them", async () => {
    await configure({ clusterResources: [] });
    await tell(TOLD);
    expect(await priorityOf("bulk")).toBe(3);
  });
});

describe("rewrites of a cluster", () => {
  it("give no names unless the pool allows it", async () => {
    await tell(TOLD);
    expect(await sent({ model: "fast" })).toMatchObject({ status: 404 });
    expect(await sent({ model: MODEL })).toEqual({ status: 200, model: MODEL });
  });

  it("resolve where it does, behind the configuration's own", async () => {
    await configure({ ...OWN, clusterResources: ["rewrites"] });
    await tell(TOLD);
    expect(await sent({ model: "fast" })).toEqual({ status: 200, model: "acme/of-the-cluster" });
    // Of the same name as one of the configuration's.
    expect(await sent({ model: "schnell" })).toMatchObject({ status: 404 });
    // Older than the configuration's, which matches the same model.
    expect(await sent({ model: "owned" })).toEqual({ status: 200, model: "acme/of-the-operator" });
    expect(await priorityOf("bulk")).toBe(3);
  });
});

it("an operator sees what is in force, and what is not and why", async () => {
  await configure(OWN);
  await tell({ ...TOLD, objectives: [...TOLD.objectives.slice(1), { name: "Bad" }] }).catch(
    () => {},
  );
  forgetDirectory();
  const answer = await adminSend(`/admin/v1/pools/${POOL}`);
  const { clusterResources } = await answer.json<{ clusterResources: object }>();
  const why = (kind: string, name: string, because: string) =>
    expect.objectContaining({ kind, name, why: because, detail: expect.any(String) as string });
  expect(clusterResources).toEqual({
    objectives: ["gold"],
    rewrites: [],
    ignored: [
      why("objectives", "Bad", "mistaken"),
      why("objectives", "own", "overridden"),
      why("rewrites", "aliases", "not-allowed"),
      why("rewrites", "kept", "not-allowed"),
      why("rewrites", "older", "not-allowed"),
    ],
  });
  const metrics = await (await adminSend("/metrics")).text();
  expect(metrics).toContain(
    `fairlead_cluster_resources_ignored{pool="${POOL}",kind="rewrites",why="not-allowed"} 3`,
  );
});
