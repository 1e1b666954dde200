// The agent as a process, and its administrator's orders.

import { afterEach, beforeEach, expect, it } from "vitest";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { runAgentProcess, startAgentProcess, type AgentProcess } from "../support/agent-process.ts";

let server: Server;
let agent: AgentProcess;
let ports: number[];

beforeEach(async () => {
  server = createServer((_, response) => response.end("here")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const links = [
    { name: "a", target, rttMs: 10 },
    { name: "b", target },
  ];
  agent = await startAgentProcess(["link", "--exit-with-parent", "--links", JSON.stringify(links)]);
  ports = agent.ready["ports"] as number[];
});
afterEach(async () => {
  agent.child.kill("SIGTERM");
  await agent.exited;
  server.close();
});

const order = (body: string, contentType = "application/json") =>
  fetch(`http://127.0.0.1:${String(agent.ready["adminPort"])}/link`, {
    method: "POST",
    headers: { "content-type": contentType },
    body,
  });
const get = async (port: number | undefined) =>
  (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })).text();

it("cuts the link that is named, or all of them", async () => {
  expect(await get(ports[0])).toBe("here");
  const one = await order(JSON.stringify({ link: "b", cut: "refuse" }));
  expect(await one.json()).toMatchObject({
    links: [{ name: "b", port: ports[1], cut: "refuse", rttMs: 0 }],
  });
  await expect(get(ports[1])).rejects.toThrow("fetch failed");
  expect(await get(ports[0])).toBe("here");
  const both = await order(JSON.stringify({ cut: "none", rttMs: 5 }));
  expect(await both.json()).toMatchObject({ links: [{ rttMs: 5 }, { rttMs: 5 }] });
  expect(await get(ports[1])).toBe("here");
});

it.for([
  ["another cut", '{"cut": "half"}', 400],
  ["an unknown member", '{"rtt": 5}', 400],
  ["a round trip below zero", '{"rttMs": -1}', 400],
  ["no JSON", "{", 400],
  ["more than an order can be", `{"link": "${"a".repeat(5_000)}"}`, 400],
  ["a link that is not there", '{"link": "c"}', 404],
] as const)("refuses %s and says why", async ([, body, status]) => {
  const answer = await order(body);
  expect(answer.status).toBe(status);
  expect(await answer.json()).toEqual({ error: expect.stringMatching(/\S/) as string });
});

it("takes no order that a page in a browser could send without asking", async () => {
  expect((await order('{"cut": "refuse"}', "text/plain")).status).toBe(415);
  expect(await get(ports[0])).toBe("here");
});

it.for([
  ["{}", "a list of links"],
  ['[{"name": "a", "target": "nowhere"}]', "expected host:port"],
  ['[{"name": "a", "target": "h:1"}, {"name": "a", "target": "h:1"}]', "two links have one name"],
] as const)("refuses --links %s", async ([links, says]) => {
  const { code, stderr } = await runAgentProcess(["link", "--links", links]);
  expect(code).toBe(2);
  expect(stderr).toContain(says);
});
