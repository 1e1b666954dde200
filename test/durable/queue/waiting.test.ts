// Picks that wait in a full pool, over real RPC.

import { reset, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { TicketReport } from "../../../src/agents/protocol/messages.ts";
import type { HeldGrant } from "../../../src/durable/contract.ts";
import { REPORTS_MS, WARM_UP_MS } from "../../../src/durable/queue/warm-up.ts";
import {
  closed,
  contentKeys,
  opened,
  pickRequest,
  poolStub,
  TestAgent,
  until,
} from "../pool-client.ts";
import {
  addEndpoints,
  ask,
  configureFlowPool,
  flowPick,
  flowPool,
  granted,
  ONE_AT_A_TIME,
  queueState,
  served,
  waiting,
} from "./flow-pool.ts";

afterEach(() => reset());

/** As the runtime resets it: open calls break. */
const loseMemory = () =>
  runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
const nobodyWaits = () => until(async () => (await queueState()).waiting.requests === 0);

describe("a pick that finds the pool full", () => {
  it("waits, and is granted when room is made", async () => {
    await flowPool();
    const first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b"));
    expect(await queueState()).toMatchObject({ openWaits: 1, places: 0, inFlight: 1 });
    const wait = second.handle.wait();
    first[Symbol.dispose]();
    using grant = (await wait) as HeldGrant;
    expect(grant).toMatchObject({ ok: true, endpoints: ["10.0.0.1:8000"] });
    expect(await queueState()).toMatchObject({ openWaits: 0, inFlight: 1 });
  });

  it("is told of its grant also if it asks later", async () => {
    await flowPool();
    const first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b"));
    first[Symbol.dispose]();
    await nobodyWaits();
    using grant = (await second.handle.wait()) as HeldGrant;
    expect(grant.ok).toBe(true);
  });

  it("leaves the queue when its Worker lets go of it", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    const second = await waiting(flowPick("b"));
    second[Symbol.dispose]();
    await nobodyWaits();
    expect((await queueState()).bands[0]!.dropped).toEqual({ "rejected-context-cancelled": 1 });
  });

  it("leaves the queue at once when its Worker says so, while it asks, too", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b"));
    const wait = second.handle.wait();
    await poolStub().leave("b", 0);
    expect((await queueState()).waiting.requests).toBe(0);
    expect(await wait).toMatchObject({ ok: false, reason: "rejected-context-cancelled" });
  });

  it("gives a grant back that nobody took", async () => {
    await flowPool();
    const first = await granted(flowPick("a"));
    const second = await waiting(flowPick("b"));
    first[Symbol.dispose]();
    await nobodyWaits();
    expect((await poolStub().state()).tickets.open).toBe(1);
    second[Symbol.dispose]();
    await until(async () => (await poolStub().state()).tickets.open === 0);
    expect((await queueState()).inFlight).toBe(0);
  });

  it("is served by priority, and within one by arrival", async () => {
    await flowPool();
    let current = await granted(flowPick("a"));
    const receivedAtMs = Date.now();
    const waits = [
      await waiting(flowPick("late", { receivedAtMs })),
      await waiting(flowPick("early", { receivedAtMs: receivedAtMs - 500 })),
      await waiting(flowPick("high", { priority: 1 })),
    ];
    const order: number[] = [];
    const grants = waits.map(async (wait, i) => {
      const grant = (await wait.handle.wait()) as HeldGrant;
      order.push(i);
      return grant;
    });
    for (const next of [2, 1, 0]) {
      current[Symbol.dispose]();
      current = await grants[next]!;
    }
    expect(order).toEqual([2, 1, 0]);
    for (const wait of waits) wait[Symbol.dispose]();
    current[Symbol.dispose]();
  });

  it("is refused where its Worker cannot wait", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    expect(await ask(pickRequest("b"))).toMatchObject({ ok: false, reason: "rejected-saturated" });
    expect((await queueState()).waiting.requests).toBe(0);
  });

  it("waits no longer than its client wants", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b", { ttlMs: 50 }));
    const end = await second.handle.wait();
    expect(end).toMatchObject({ ok: false, reason: "rejected-ttl-expired" });
    expect((end as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(0);
  });

  it("goes on waiting under a new configuration, and is let through when there is none", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b"));
    const wait = second.handle.wait();
    const other = {
      ...ONE_AT_A_TIME,
      flowControl: { ...ONE_AT_A_TIME.flowControl, maxRequests: 7 },
    };
    await configureFlowPool(other, 2);
    expect((await queueState()).limits.requests).toBe(7);
    expect((await queueState()).waiting.requests).toBe(1);
    await configureFlowPool({}, 3);
    using grant = (await wait) as HeldGrant;
    expect(grant.ok).toBe(true);
    expect(await poolStub().queueState()).toBeNull();
  });

  it("is in flight still when an objective is added", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    await configureFlowPool(ONE_AT_A_TIME, 2, [5]);
    const { inFlight, bands } = await queueState();
    expect(inFlight).toBe(1);
    expect(bands.map(({ priority }) => priority)).toEqual([5, 0]);
  });

  it("is sent away where the pool is retired", async () => {
    await flowPool();
    using _first = await granted(flowPick("a"));
    using second = await waiting(flowPick("b"));
    const wait = second.handle.wait();
    await poolStub().retire(9);
    expect(await wait).toMatchObject({ ok: false, reason: "rejected-shutting-down" });
  });

  it("is lost with the object's memory, and takes its place again", async () => {
    await flowPool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const first = await granted(flowPick("a"));
    relay.reports([opened(first)]);
    const receivedAtMs = Date.now() - 1_000;
    const lost = await waiting(flowPick("b", { receivedAtMs }));
    const wait = lost.handle.wait().then(
      () => "answered",
      () => "lost",
    );
    await loseMemory();
    expect(await wait).toBe("lost");
    await until(async () => (await poolStub().state()).endpoints.length === 1);
    const collector = await TestAgent.greeted({ epoch: "e2" });
    await addEndpoints(collector, 1);
    using _one = await served(flowPick("fills it"));
    using other = await waiting(flowPick("came later"));
    using again = await waiting(flowPick("b", { receivedAtMs }));
    const [bands] = (await queueState()).bands;
    expect(bands!.waiting.requests).toBe(2);
    _one[Symbol.dispose]();
    using grant = (await again.handle.wait()) as HeldGrant;
    expect(grant.ok).toBe(true);
    expect((await queueState()).waiting.requests).toBe(1);
    other[Symbol.dispose]();
  });
});

describe("without flow control", () => {
  const OFF = { ...ONE_AT_A_TIME, featureGates: [] };

  it("turns sheddable requests away from a full pool, and lets all others through", async () => {
    await flowPool(1, OFF);
    using low = await granted(flowPick("a", { priority: -1 }));
    expect(await ask(flowPick("b", { priority: -1 }))).toMatchObject({
      ok: false,
      reason: "rejected-saturated",
      retryAfterMs: 1_000,
    });
    using other = await granted(flowPick("c"));
    expect([low.ok, other.ok]).toEqual([true, true]);
    expect(await poolStub().queueState()).toBeNull();
    // Nothing was decided for it, and it is known why.
    const { explanation } = await poolStub().explain("b");
    expect(explanation!.attempts[0]!.dropped).toMatchObject({ reason: "rejected-saturated" });
  });
});

describe("a pool without endpoints", () => {
  it("lets requests wait for one, and asks one Worker for capacity", async () => {
    await configureFlowPool();
    const collector = await TestAgent.greeted();
    using first = await waiting(flowPick("a"));
    using second = await waiting(flowPick("b"));
    expect(first.asksForCapacity).toBe(true);
    expect(second.asksForCapacity).toBeUndefined();
    const wait = first.handle.wait();
    await addEndpoints(collector, 1);
    using grant = (await wait) as HeldGrant;
    expect(grant.endpoints).toEqual(["10.0.0.1:8000"]);
  });

  it("refuses who has another pool to go to", async () => {
    await configureFlowPool();
    await TestAgent.greeted();
    const answer = await ask(flowPick("a", { waitsForEndpoints: false }));
    expect(answer).toMatchObject({ ok: false, reason: "rejected-no-endpoints" });
  });
});

describe("an object that has lost its memory", () => {
  it("lets nobody through before relays have told what runs", async () => {
    await flowPool();
    const hello = { role: "relay", agent: "relay-0" } as const;
    const before = await TestAgent.greeted(hello);
    using first = await granted(flowPick("a"));
    const subject = { requestId: "a", tenant: "acme", model: "m" };
    before.reports([{ ...opened(first), ...subject }]);
    await loseMemory();
    // The pool is full, and the object does not know it yet.
    using second = await waiting(flowPick("b"));
    const wait = second.handle.wait();
    const relay = await TestAgent.greeted(hello);
    relay.reports([{ ...opened(first), ...subject }]);
    await until(async () => (await poolStub().state()).tickets.open === 1);
    await scheduler.wait(REPORTS_MS + 300);
    expect((await queueState()).waiting.requests).toBe(1);
    relay.reports([{ ...closed(first), ...subject }]);
    using grant = (await wait) as HeldGrant;
    expect(grant.ok).toBe(true);
  });

  it("waits for relays for a moment only", async () => {
    await flowPool();
    await loseMemory();
    const startedMs = Date.now();
    using grant = await served(flowPick("a"));
    expect(grant.ok).toBe(true);
    expect(Date.now() - startedMs).toBeGreaterThan(WARM_UP_MS / 2);
  });
});

describe("what flows owe each other", () => {
  it("outlives the object's memory", async () => {
    await flowPool();
    const first = await granted(flowPick("a", { fairnessId: "other" }));
    const before = [
      await waiting(flowPick("b", { fairnessId: "greedy" })),
      await waiting(flowPick("c", { fairnessId: "modest" })),
    ];
    // Of two that were served alike the one that came first is served, and is ahead then.
    first[Symbol.dispose]();
    const stored = () =>
      runInDurableObject(poolStub(), (_, { storage }) =>
        storage.kv.get<{ debts: { fairnessId: string; tokens: number }[] }>("flow-debts"),
      );
    const owed = await until(async () => (await stored())?.debts.find((debt) => debt.tokens > 0));
    expect(owed).toMatchObject({ priority: 0, fairnessId: "greedy" });
    // No reply has waited for it to be durable.
    await runInDurableObject(poolStub(), (_, { storage }) => storage.sync());
    await loseMemory();
    for (const wait of before) wait[Symbol.dispose]();
    const collector = await TestAgent.greeted({ epoch: "e2" });
    await addEndpoints(collector, 1);
    const current = await served(flowPick("fills it", { fairnessId: "other" }));
    const receivedAtMs = Date.now() - 1_000;
    // Debts are held against those who wait, so somebody has to.
    using anchor = await waiting(flowPick("0", { fairnessId: "anchor", receivedAtMs }));
    using greedy = await waiting(flowPick("1", { fairnessId: "greedy", receivedAtMs }));
    using modest = await waiting(flowPick("2", { fairnessId: "modest" }));
    const order: string[] = [];
    const both = Object.entries({ anchor, greedy, modest }).map(async ([name, wait]) => {
      const grant = (await wait.handle.wait()) as HeldGrant;
      order.push(name);
      grant[Symbol.dispose]();
    });
    current[Symbol.dispose]();
    await Promise.all(both);
    expect(order).toEqual(["anchor", "modest", "greedy"]);
  });
});

describe("a sheddable request that was let through", () => {
  const EVICTING = {
    ...ONE_AT_A_TIME,
    flowControl: { ...ONE_AT_A_TIME.flowControl, enableEviction: true },
  };

  it("is ended for one of a higher priority, and its record says so", async () => {
    await flowPool(1, EVICTING);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using low = await granted(flowPick("low", { priority: -1 }));
    relay.reports([opened(low)]);
    using high = await waiting(flowPick("high"));
    const wait = high.handle.wait();
    expect(await relay.received("evict")).toMatchObject({ ticket: low.ticket });
    const untold = { ttftMs: null, promptTokens: null, cachedTokens: null, completionTokens: null };
    const end = { ...closed(low), outcome: "cancelled", status: null, ...untold };
    relay.reports([end as TicketReport]);
    using grant = (await wait) as HeldGrant;
    expect(grant.ok).toBe(true);
    const { revocations, bands } = await queueState();
    expect(revocations).toEqual({ issued: 1, ended: 1, spared: 0, untold: 0 });
    expect(bands.at(-1)).toMatchObject({ priority: -1, dropped: { evicted: 1 } });
    const { explanation } = await poolStub().explain("low");
    expect(explanation!.attempts[0]).toMatchObject({ result: { outcome: "evicted" } });
  });

  it("is spared where its answer has begun", async () => {
    await flowPool(1, EVICTING);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using low = await granted(flowPick("low", { priority: -1 }));
    relay.reports([opened(low)]);
    using _high = await waiting(flowPick("high"));
    await relay.received("evict");
    relay.started([{ ticket: low.ticket, attempt: 0 }]);
    await until(async () => (await queueState()).revocations.spared === 1);
    expect((await queueState()).bands.at(-1)!.dropped).toEqual({});
  });
});

describe("what a request took", () => {
  it("is charged to its flow, as its relay reports it", async () => {
    await flowPool();
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    using first = await granted(flowPick("a"));
    relay.reports([opened(first), closed(first)]);
    await until(async () => (await queueState()).inFlight === 0);
    const [flow] = (await queueState()).bands[0]!.flows;
    // Uncached 1,300 - 1,024, and twice the answer of 90.
    expect(flow).toMatchObject({ dispatched: 1, tokensLately: 276 + 180 });
  });

  it("is nothing where it was given back unused", async () => {
    await flowPool();
    const first = await granted(flowPick("a"));
    first[Symbol.dispose]();
    await until(async () => (await queueState()).inFlight === 0);
    expect((await queueState()).bands[0]!.flows[0]!.tokensLately).toBe(0);
  });
});

it("teaches all keys of a long prompt that waited with some of them", async () => {
  await flowPool(2, ONE_AT_A_TIME);
  const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
  const keys = contentKeys(77, 300);
  const blockers = [await granted(flowPick("a")), await granted(flowPick("b"))];
  using wait = await waiting(flowPick("long", { keys }));
  for (const blocker of blockers) blocker[Symbol.dispose]();
  using grant = (await wait.handle.wait()) as HeldGrant;
  expect(grant.wantsKeys).toBe(true);
  relay.reports([opened(grant)]);
  await grant.handle.learn(keys);
  relay.reports([closed(grant)]);
  await until(async () => (await queueState()).inFlight === 0);
  using again = await granted(flowPick("again", { keys }));
  expect(again.ok).toBe(true);
  const { explanation } = await poolStub().explain("again");
  const [attempt] = explanation!.attempts;
  const candidate = attempt!.candidates.find(({ address }) => address === grant.endpoints[0]);
  expect(candidate).toMatchObject({ matchedBlocks: 300 });
});
