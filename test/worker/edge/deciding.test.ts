// Deciding at the edge with everything real but the engines: the Worker, pools' objects, a relay on a socket, and
// agents on WebSockets.

import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { DESTINATION_HEADER } from "../../../src/agents/protocol/headers.ts";
import { isEdgeTicket } from "../../../src/agents/protocol/ticket-name.ts";
import type { PickGrant } from "../../../src/durable/contract.ts";
import type { DecisionPage } from "../../../src/durable/state.ts";
import { OBJECT_RTT_BINDING } from "../../../src/config/object-rtt.ts";
import { NEAR_MS, SNAPSHOT_SERVES_MS } from "../../../src/scheduler/edge/consult-rule.ts";
import type { ExplanationDocument } from "../../../src/scheduler/decisions/document.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { RECORDS_BURST_MAX } from "../../../src/worker/edge/local-records.ts";
import { PICK_DEADLINE_WITH_REPLICA_MS } from "../../../src/worker/upstream/pool-picks.ts";
import {
  closed,
  endpoint,
  opened,
  POOL,
  poolStub,
  TestAgent,
  until,
} from "../../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
  seenBy,
  send,
  TENANT_KEY,
} from "../support/deployment.ts";

/** An object is away for so long: its snapshot grows too old, a pick waits for it in vain, and then others do not. */
const AWAY_MS = SNAPSHOT_SERVES_MS + PICK_DEADLINE_WITH_REPLICA_MS + 1_000;

/** `decide` of the pool; resolves when isolate and object know it. */
async function decideBy(decide: string, change: object = {}): Promise<void> {
  const config = configuration();
  const [pool, ...others] = config.pools;
  await applyConfiguration({ ...config, pools: [{ ...pool, decide, ...change }, ...others] });
}

/** Two idle endpoints, as of now. */
function sample(): void {
  collector.metrics([0, 1].map((endpoint) => ({ endpoint, fields: [0, 0, 0, 16, 4_000] })));
}

/** One chat, and the ticket that its relay got. */
async function sent(fields: Readonly<Record<string, unknown>> = {}) {
  sample();
  const response = await chat(chatBody(fields));
  const text = await response.text();
  const { headers } = await seenBy(response);
  const requestId = response.headers.get("x-fairlead-request-id")!;
  const ticket = headers["x-fairlead-ticket"]!;
  // The relay's word, which the stub on the socket does not have.
  const [address] = headers[DESTINATION_HEADER]!.split(",");
  const grant = { ticket } as PickGrant;
  const reports = [opened(grant, address), closed(grant, address)];
  relay.reports(reports.map((report) => ({ ...report, attempt: 1 })));
  return { response, text, requestId, ticket, isLocal: isEdgeTicket(ticket) };
}

/** Chats until one is decided here. */
const sentLocally = () =>
  until(async () => {
    const each = await sent();
    return each.isLocal ? each : undefined;
  });

async function explained(requestId: string): Promise<ExplanationDocument | undefined> {
  const answer = await adminSend(`/admin/v1/explain/${requestId}`);
  return answer.status === 200 ? answer.json() : undefined;
}

let collector: TestAgent;
let relay: TestAgent;

const greetedRelay = () => TestAgent.greeted({ role: "relay", agent: "relay-0" });

beforeAll(async () => {
  collector = await deploy();
  relay = await greetedRelay();
  await decideBy("local");
});

const decidedOn = (requestId: string) =>
  until(async () => (await explained(requestId))?.attempts[0]?.decided);

/** Local decisions that the object was told of. */
const decisionCount = async () => {
  const metrics = await poolStub().metrics();
  const [, count = "0"] = /^fairlead_edge_commits_total\{[^}]*\} (\d+)/m.exec(metrics) ?? [];
  return Number(count);
};

const openTickets = async () => (await env.POOLS.state(POOL)).tickets.open;

describe("a pool that is decided on at the edge", () => {
  it("is asked for credit once, and then only told", async () => {
    const { response, requestId, text } = await sentLocally();
    expect([response.status, text.length > 0]).toEqual([200, true]);
    expect(await decidedOn(requestId)).toMatchObject({ where: "local", reason: "forced-local" });
  });

  it("has the other candidates on record, and the same choice where it is taken again", async () => {
    const { requestId } = await sentLocally();
    const attempt = await until(async () => (await explained(requestId))?.attempts[0]);
    expect(attempt).toMatchObject({ candidateCount: 2, decided: { where: "local" } });
    expect(attempt.candidates.map(({ id }) => id).toSorted()).toEqual(["default/e1", "default/e2"]);
    const parsed = parseReplayable({ requestId, pool: "eu-1", attempts: [attempt] });
    expect(parsed.ok && replayAttempt(parsed.value.attempts[0]!).isSame).toBe(true);
  });

  it("has all its decisions in pages, with the other candidates or without", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 2 * RECORDS_BURST_MAX; n++) ids.push((await sentLocally()).requestId);
    const page = await until(async () => {
      const answer = await adminSend("/admin/v1/pools/eu-1/decisions?limit=256");
      const { decisions } = await answer.json<DecisionPage>();
      const told = decisions.filter((one) => ids.includes(one.requestId));
      return told.length === ids.length ? told : undefined;
    });
    const wheres = new Set(page.map(({ attempt }) => attempt.decided?.where));
    expect([...wheres]).toEqual(["local"]);
    // On a slow machine all of them.
    const counts = new Set(page.map(({ attempt }) => attempt.candidateCount));
    expect([...counts].filter((count) => count !== 0 && count !== 2)).toEqual([]);
    expect(counts).toContain(2);
    for (const { attempt } of page) expect(attempt.chosen.length).toBeGreaterThan(0);
  });

  it("has what runs counted by its object, and given back at its end", async () => {
    await until(async () => (await openTickets()) === 0);
    const slow = until(async () => {
      const each = await sent({ user: "slow:1500" });
      return each.isLocal ? each : undefined;
    });
    await until(async () => (await openTickets()) === 1);
    expect((await slow).response.status).toBe(200);
    await until(async () => (await openTickets()) === 0);
  });

  it("hears of a request whose client has left at once", async () => {
    await sentLocally();
    const client = new AbortController();
    sample();
    const left = send("/v1/chat/completions", {
      method: "POST",
      headers: { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" },
      body: JSON.stringify(chatBody({ user: "slow:1000" })),
      signal: client.signal,
    });
    left.catch(() => undefined);
    const before = await decisionCount();
    client.abort();
    await expect.poll(decisionCount, { timeout: 5_000 }).toBeGreaterThan(before);
  });

  it("serves on over a reset of its object, which takes what it was told as before", async () => {
    await sentLocally();
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    collector = await TestAgent.greeted();
    relay = await greetedRelay();
    collector.membership([endpoint(1), endpoint(2)]);
    const { response } = await sent();
    expect(response.status).toBe(200);
    const { requestId } = await sentLocally();
    expect(await decidedOn(requestId)).toMatchObject({ where: "local" });
  });

  it("serves on while its object does not answer, which counts all of it afterwards", async () => {
    await sentLocally();
    const blocked = runInDurableObject(poolStub(), (_, ctx) =>
      ctx.blockConcurrencyWhile(() => scheduler.wait(AWAY_MS)),
    );
    const endMs = Date.now() + AWAY_MS - 200;
    const all: Awaited<ReturnType<typeof sent>>[] = [];
    while (Date.now() < endMs) {
      all.push(await sent());
      await scheduler.wait(50);
    }
    await blocked;
    expect(all.filter(({ response }) => response.status !== 200)).toEqual([]);
    const local = all.filter(({ isLocal }) => isLocal);
    expect(local.length).toBeGreaterThan(all.length / 2);
    const reasons = new Set<string>();
    for (const { requestId } of local) reasons.add((await decidedOn(requestId)).reason);
    expect(reasons).toContain("object-away");
    await until(async () => (await openTickets()) === 0);
  });
});

describe("an isolate that is told otherwise", () => {
  it("asks the object from then on", async () => {
    await decideBy("consult");
    await until(async () => !(await sent()).isLocal);
    const { requestId } = await sent();
    expect(await decidedOn(requestId)).toMatchObject({ reason: "forced-consult" });
    await decideBy("local");
    await sentLocally();
  });

  it("asks an object that is near, where it may choose", async () => {
    await decideBy("auto");
    // As soon as the machine is quiet enough for that to be measured.
    const terms = await until(async () => {
      const decided = await decidedOn((await sent()).requestId);
      return decided.reason === "near" ? decided : undefined;
    });
    expect(terms).toMatchObject({ where: "consult" });
    expect(terms.rttMs).toBeLessThan(NEAR_MS);
  });

  it("decides itself where the object is far", async () => {
    Reflect.set(env, OBJECT_RTT_BINDING, 40);
    // What was measured when it was near counts for a while.
    const terms = await until(async () => {
      const { isLocal, requestId } = await sent();
      const decided = isLocal ? await decidedOn(requestId) : undefined;
      return (decided?.rttMs ?? 0) > 30 ? decided : undefined;
    });
    expect(terms).toMatchObject({ where: "local", reason: "nothing-to-gain" });
    Reflect.deleteProperty(env, OBJECT_RTT_BINDING);
  });
});
