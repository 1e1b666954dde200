import { beforeEach, describe, expect, it } from "vitest";
import type { DecisionPage } from "../../src/durable/state.ts";
import { until } from "../durable/pool-client.ts";
import { adminSend, chat, chatBody, configuration, deploy, send } from "./support/deployment.ts";

const PATH = "/admin/v1/pools/eu-1/decisions";

beforeEach(async () => {
  await deploy();
});

async function ask(times: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < times; i++) {
    const response = await chat(chatBody());
    await response.body?.cancel();
    ids.push(response.headers.get("x-fairlead-request-id")!);
  }
  return ids;
}

async function page(query = ""): Promise<DecisionPage> {
  const response = await adminSend(`${PATH}${query}`);
  expect(response.status).toBe(200);
  return response.json();
}

describe("recorded decisions", () => {
  it("need the admin key", async () => {
    expect((await send(PATH)).status).toBe(401);
  });

  it("come newest first, a page at a time, and each once", async () => {
    const ids = await ask(5);
    const first = await page("?limit=2");
    expect(first.decisions.map(({ requestId }) => requestId)).toEqual([ids[4], ids[3]]);
    expect(first.next).not.toBeNull();
    const rest = await page(`?limit=1000&before=${first.next}`);
    const seen = rest.decisions.map(({ requestId }) => requestId);
    expect(seen.slice(0, 3)).toEqual([ids[2], ids[1], ids[0]]);
    expect(first.oldestAtMs).toBeGreaterThan(0);
  });

  it("name the scheduler that decided, told once a page", async () => {
    await ask(2);
    const { schedulers, decisions } = await page("?limit=2");
    expect(schedulers).toHaveLength(1);
    expect(decisions.map(({ attempt }) => attempt.scheduler)).toEqual([0, 0]);
    expect(schedulers[0]).toMatchObject({ kind: "EndpointPickerConfig" });
  });

  it("hold no prompt", async () => {
    await ask(1);
    expect(JSON.stringify(await page())).not.toContain("Hi");
  });

  it.for([
    { query: "?since=0", param: "since" },
    { query: "?since=an-hour", param: "since" },
    { query: "?limit=0", param: "limit" },
    { query: "?limit=1001", param: "limit" },
    { query: "?before=-1", param: "before" },
  ])("refuse $query", async ({ query, param }) => {
    const response = await adminSend(`${PATH}${query}`);
    expect(response.status).toBe(400);
    const { error } = await response.json<{ error: object }>();
    expect(error).toMatchObject({ code: "invalid_value", param });
  });

  it("are not asked of a pool that is not configured", async () => {
    expect((await adminSend("/admin/v1/pools/nobody/decisions")).status).toBe(404);
  });
});

describe("a pool's shadow", () => {
  it("comes with the configuration, and reports itself", async () => {
    const config = configuration();
    const shadow = { plugins: [{ type: "queue-scorer" }] };
    const pools = config.pools.map((pool) => (pool.name === "eu-1" ? { ...pool, shadow } : pool));
    const put = (body: unknown) =>
      adminSend("/admin/v1/config", { method: "PUT", body: JSON.stringify(body) });
    expect((await put({ ...config, pools })).status).toBe(200);
    const state = () =>
      adminSend("/admin/v1/pools/eu-1").then((r) => r.json<{ shadow?: object }>());
    await until(async () => (await state()).shadow);
    await ask(1);
    expect((await state()).shadow).toMatchObject({ isRunning: true });
    const [newest] = (await page("?limit=1")).decisions;
    expect(newest!.attempt.shadow).toMatchObject({ dropped: null });
    expect((await put(config)).status).toBe(200);
    await until(async () => (await state()).shadow === undefined);
  });

  it("is refused where it has mistakes, with their paths", async () => {
    const config = configuration();
    const shadow = { plugins: [{ type: "no-such-scorer" }] };
    const pools = config.pools.map((pool) => ({ ...pool, shadow }));
    const body = JSON.stringify({ ...config, pools });
    const response = await adminSend("/admin/v1/config", { method: "PUT", body });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("pools[0].shadow.plugins[0]");
  });
});
