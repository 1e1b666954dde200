// What the object tells relays of requests that are to end, and what it hears of those that have begun.

import { reset, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { encodeFrame, FRAME } from "../../src/agents/protocol/codec.ts";
import type { StartedTicket } from "../../src/agents/protocol/messages.ts";
import { AgentConnections } from "../../src/durable/agent-connection.ts";
import type { AgentEvents } from "../../src/durable/agent-events.ts";
import { DEFAULT_SPECIFICATION } from "../../src/scheduler/data-layer/compile.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";
import { configurePool, POOL, poolStub, TestAgent } from "./pool-client.ts";

afterEach(() => reset());

const VICTIM = { ticket: "t-1", attempt: 2, retryAfterMs: 3_000 };
const EVICT = { t: "evict", ...VICTIM };
const silent = () => undefined;

function eventsWith(more: Partial<AgentEvents>): AgentEvents {
  const scheduler = schedulerConfigSchema.parse({});
  return {
    config: () => ({ name: POOL, scrapeIntervalMs: 200, scheduler }),
    specification: () => DEFAULT_SPECIFICATION,
    acked: () => ({ seq: 0, report: 0 }),
    claimed: () => true,
    collectorConnected: silent,
    collectorDisconnected: silent,
    collectorHeard: silent,
    scraped: silent,
    served: silent,
    relayConnected: silent,
    reported: silent,
    marked: silent,
    started: silent,
    kvOffered: silent,
    kvReceived: silent,
    kvLost: silent,
    wantsFirstBytes: () => false,
    resourcesTold: silent,
    tickNeeded: silent,
    ...more,
  };
}

/** Runs `body` with connections of its own over the sockets that the pool's object holds. */
function withConnections<T>(
  more: Partial<AgentEvents>,
  body: (connections: AgentConnections, ctx: DurableObjectState) => T,
): Promise<T> {
  return runInDurableObject(poolStub(), (_, ctx) => {
    const registry = new MetricRegistry();
    const events = eventsWith(more);
    const clock = () => 0;
    return body(new AgentConnections({ ctx, objectEpoch: "e", clock, registry, events }), ctx);
  });
}

const relayAgent = (agent: string, more = {}) =>
  TestAgent.greeted({ role: "relay", agent, epoch: `${agent}-e1`, ...more });

/** What an agent has been told when a message that was sent after it has come. */
async function evictsOf(agent: TestAgent): Promise<unknown[]> {
  const { length } = agent.messages.filter(({ t }) => t === "configure");
  await poolStub().configure(
    { name: POOL, scrapeIntervalMs: 200, scheduler: schedulerConfigSchema.parse({}) },
    length + 100,
  );
  await agent.received("configure", length + 1);
  return agent.messages.filter(({ t }) => t === "evict");
}

describe("an evict", () => {
  it("goes to the relay that has the ticket, and to no other", async () => {
    await configurePool();
    const relays = [await relayAgent("r0"), await relayAgent("r1")];
    const holder = { agent: "r1", epoch: "r1-e1" };
    expect(await withConnections({}, (agents) => agents.evict(VICTIM, holder))).toBe(1);
    expect(await relays[1]!.received("evict")).toEqual(EVICT);
    expect(await evictsOf(relays[0]!)).toEqual([]);
  });

  it.for([
    ["nobody has told who has it", undefined],
    ["that relay is not connected", { agent: "r9", epoch: "r9-e1" }],
    ["that relay has begun a new life", { agent: "r0", epoch: "r0-e0" }],
  ] as const)("goes to all relays where %s", async ([, holder]) => {
    await configurePool();
    const relays = [await relayAgent("r0"), await relayAgent("r1")];
    const collector = await TestAgent.greeted();
    const old = await relayAgent("r2", { v: 1 });
    expect(await withConnections({}, (agents) => agents.evict(VICTIM, holder))).toBe(2);
    for (const relay of relays) expect(await relay.received("evict")).toEqual(EVICT);
    expect(await evictsOf(collector)).toEqual([]);
    expect(await evictsOf(old)).toEqual([]);
  });

  it("goes nowhere while no relay is connected", async () => {
    await configurePool();
    await TestAgent.greeted();
    expect(await withConnections({}, (agents) => agents.evict(VICTIM))).toBe(0);
  });
});

describe("what has begun", () => {
  it("is asked for only where it is wanted, and of relays that can tell", async () => {
    await configurePool();
    const relay = await relayAgent("r0");
    const collector = await TestAgent.greeted();
    const old = await relayAgent("r2", { v: 1 });
    await withConnections({ wantsFirstBytes: () => true }, () => undefined);
    expect(await relay.received("configure", 1)).not.toHaveProperty("reportsFirstByte");
    expect(await relay.received("configure", 2)).toHaveProperty("reportsFirstByte", true);
    for (const agent of [collector, old]) {
      expect(await agent.received("configure", 2)).not.toHaveProperty("reportsFirstByte");
    }
    await withConnections({ wantsFirstBytes: () => false }, () => undefined);
    expect(await relay.received("configure", 3)).not.toHaveProperty("reportsFirstByte");
  });

  it("is heard, as often as it is told", async () => {
    await configurePool();
    await relayAgent("r0");
    const tickets = [
      { ticket: "t-1", attempt: 0 },
      { ticket: "t-2", attempt: 1 },
    ];
    const heard: StartedTicket[] = [];
    const started = (told: readonly StartedTicket[]) => void heard.push(...told);
    await withConnections({ started }, (agents, ctx) => {
      const [socket] = ctx.getWebSockets();
      const text = new TextEncoder().encode(JSON.stringify({ tickets }));
      for (const seq of [1, 2]) {
        const frame = encodeFrame({ type: FRAME.started, version: 2, seq }, text);
        agents.received(socket!, frame.buffer);
      }
    });
    expect(heard).toEqual([...tickets, ...tickets]);
  });

  it("of a relay does no harm to an object that did not ask", async () => {
    await configurePool();
    const relay = await relayAgent("r0");
    relay.started([{ ticket: "t-1", attempt: 0 }]);
    expect(await evictsOf(relay)).toEqual([]);
    expect(relay.closed).toBeUndefined();
  });

  it("of a collector breaks the protocol, as does what is no ticket", async () => {
    await configurePool();
    const collector = await TestAgent.greeted();
    collector.started([]);
    expect(await collector.received("refused")).toMatchObject({ code: "protocol-error" });
    const relay = await relayAgent("r0");
    relay.started([{ ticket: "", attempt: 0 }]);
    expect(await relay.received("refused")).toMatchObject({ code: "protocol-error" });
  });
});
