import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { createCall } from "../../src/worker/call.ts";
import { poolTag, requestIdAt } from "../../src/worker/request-id.ts";
import {
  adminSend,
  AGENT_TOKEN,
  applyConfiguration,
  configuration,
  deploy,
  send,
  TENANT_KEY,
} from "./support/deployment.ts";
import { until } from "../durable/pool-client.ts";

beforeAll(async () => {
  await deploy();
});

function connect(pool: string, token: string, headers: Readonly<Record<string, string>> = {}) {
  return send(`/agents/v1/${pool}`, {
    headers: { upgrade: "websocket", authorization: `Bearer ${token}`, ...headers },
  });
}

describe("an agent's connection", () => {
  it("reaches the pool's object with the pool's token", async () => {
    const response = await connect("eu-1", AGENT_TOKEN);
    expect(response.status).toBe(101);
    const socket = response.webSocket!;
    const messages: string[] = [];
    socket.addEventListener("message", ({ data }) => messages.push(String(data)));
    socket.accept();
    socket.send('{"t":"hello","v":1,"role":"relay","pool":"eu-1","agent":"relay-9","epoch":"e1"}');
    await until(() => messages.length > 0);
    expect(JSON.parse(messages[0]!)).toMatchObject({ t: "welcome" });
    socket.close(1000, "done");
  });

  it.for([
    { name: "a tenant's key", pool: "eu-1", token: TENANT_KEY },
    { name: "no token", pool: "eu-1", token: "" },
    { name: "a hash in place of the token", pool: "eu-1", token: `sha256:${"0".repeat(64)}` },
    { name: "a pool that is not there", pool: "no-such-pool", token: AGENT_TOKEN },
  ])("is refused with $name", async ({ pool, token }) => {
    const response = await connect(pool, token);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_agent_token" } });
  });

  it("reaches the object that it names, of those that the pool has", async () => {
    const config = configuration();
    const pools = config.pools.map((pool) => ({ ...pool, shards: pool.name === "us-1" ? 2 : 1 }));
    await applyConfiguration({ ...config, pools });
    const epochs: string[] = [];
    for (const query of ["", "?shard=0", "?shard=1"]) {
      const response = await connect(`us-1${query}`, AGENT_TOKEN);
      expect(response.status).toBe(101);
      const socket = response.webSocket!;
      const messages: string[] = [];
      socket.addEventListener("message", ({ data }) => messages.push(String(data)));
      socket.accept();
      const shard = query === "?shard=1" ? { shard: 1 } : {};
      const hello = { t: "hello", v: 2, role: "relay", pool: "us-1", agent: "r", epoch: "e1" };
      socket.send(JSON.stringify({ ...hello, ...shard }));
      await until(() => messages.length > 1);
      epochs.push((JSON.parse(messages[0]!) as { objectEpoch: string }).objectEpoch);
      // An agent goes by it.
      const index = query === "?shard=1" ? 1 : 0;
      expect(JSON.parse(messages[1]!)).toMatchObject({
        t: "configure",
        shards: { index, count: 2 },
      });
      socket.close(1000, "done");
    }
    expect(epochs[1]).toBe(epochs[0]);
    expect(epochs[2]).not.toBe(epochs[0]);
  });

  it("is refused by an object that it was not meant for", async () => {
    const response = await connect("eu-1", AGENT_TOKEN);
    const socket = response.webSocket!;
    const messages: string[] = [];
    socket.addEventListener("message", ({ data }) => messages.push(String(data)));
    socket.accept();
    const hello = { t: "hello", v: 2, role: "relay", pool: "eu-1", agent: "r", epoch: "e1" };
    socket.send(JSON.stringify({ ...hello, shard: 1 }));
    await until(() => messages.length > 0);
    expect(JSON.parse(messages[0]!)).toMatchObject({ t: "refused", code: "wrong-pool" });
  });

  it.for(["1", "16", "-1", "1.0", "x", ""])(
    "is refused for an object %j of a pool that has one",
    async (shard) => {
      const response = await connect(`eu-1?shard=${shard}`, AGENT_TOKEN);
      expect(response.status).toBe(404);
      const { error } = await response.json<{ error: { message: string; param: string } }>();
      expect(error).toMatchObject({ code: "not_found", param: "shard" });
      expect(error.message).toContain("the pool has 1");
    },
  );

  it("creates no object that the pool does not have", async () => {
    expect((await connect("eu-1?shard=15", AGENT_TOKEN)).status).toBe(404);
    const missing = createCall(new Request("https://fairlead.test")).requestId;
    const path = `/admin/v1/explain/${requestIdAt(missing, poolTag("eu-1"), 14)}`;
    expect((await adminSend(path)).status).toBe(404);
    const ids = await listDurableObjectIds(env.POOL);
    const created = ["eu-1~14", "eu-1~15"].map((name) => String(env.POOL.idFromName(name)));
    expect(ids.map(String).filter((id) => created.includes(id))).toEqual([]);
  });

  it("must be an upgrade", async () => {
    const response = await connect("eu-1", AGENT_TOKEN, { upgrade: "h2c" });
    expect(response.status).toBe(426);
    expect(response.headers.get("upgrade")).toBe("websocket");
  });
});
