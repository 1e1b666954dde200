import { beforeAll, describe, expect, it } from "vitest";
import { AGENT_TOKEN, deploy, send, TENANT_KEY } from "./support/deployment.ts";
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

  it("must be an upgrade", async () => {
    const response = await connect("eu-1", AGENT_TOKEN, { upgrade: "h2c" });
    expect(response.status).toBe(426);
    expect(response.headers.get("upgrade")).toBe("websocket");
  });
});
