import { describe, expect, it } from "vitest";
import { CAPACITY_ASK_MS } from "../../../src/durable/queue/capacity-asks.ts";
import { DRAIN_MAX } from "../../../src/durable/queue/pick-queue.ts";
import { RETRY_AFTER_MS } from "../../../src/scheduler/flow-control/drain-rate.ts";
import { ask, fill, pickOf, QueueModel, settle, wait } from "./queue-model.ts";

describe("a decision", () => {
  it("that throws refuses its own request, and nobody else notices", async () => {
    const model = new QueueModel();
    fill(model);
    model.decisions.set("a", "throw");
    const waits = [wait(model, "a"), wait(model, "b", { ttlMs: 2_000 })];
    model.complete("fill-0");
    expect(await waits[0]!.wait()).toMatchObject({
      ok: false,
      detail: "the decision failed: Error: a",
    });
    expect(await waits[1]!.wait()).toMatchObject({ ok: true });
    expect(model.failureCount).toBe(1);
    expect(model.queue.state()).toMatchObject({ inFlight: 1, openWaits: 0, places: 0 });
    expect(model.queue.heldBytes).toBe(0);
  });

  it("that finds nobody costs its flow nothing", async () => {
    const model = new QueueModel();
    model.decisions.set("a", "refuse");
    expect(ask(model, "a").answer).toMatchObject({ reason: "rejected-no-endpoints" });
    const { inFlight, bands } = model.queue.state();
    expect(inFlight).toBe(0);
    expect(bands[0]!.flows[0]).toMatchObject({ inFlight: 0, tokensLately: 0 });
  });

  it("is not taken while no more requests can be tracked", () => {
    const model = new QueueModel({ capacity: 5 });
    model.hasRoom = false;
    wait(model, "a");
    expect(model.dispatched).toEqual([]);
  });
});

describe("bounds", () => {
  it("on bytes give way to a higher priority", () => {
    const model = new QueueModel({ limits: { waitingBytesMax: 3_000 } });
    fill(model);
    const low = [wait(model, "a", { priority: -1 }), wait(model, "b", { priority: -1 })];
    wait(model, "high");
    expect(low.map((pick) => model.queue.isWaiting(pick))).toEqual([true, false]);
    expect(model.ends.at(-1)).toMatchObject({ reason: "evicted-queue-pressure" });
  });

  it("refuse what is over the bytes that may be kept, and give them back", () => {
    const model = new QueueModel({ limits: { waitingBytesMax: 3_000 } });
    fill(model);
    ask(model, "a");
    ask(model, "b");
    expect(ask(model, "c").answer).toMatchObject({ ok: false, reason: "rejected-saturated" });
    expect(model.queue.waitingCount).toBe(2);
    for (const id of ["a", "b"]) model.queue.leave(id, 0);
    expect(model.queue.heldBytes).toBe(0);
  });

  it("let no more through at one go than others can wait for", async () => {
    const model = new QueueModel({ limits: { openWaitsMax: 10_000 } });
    fill(model);
    for (let i = 0; i < 2 * DRAIN_MAX; i++) ask(model, `w${i}`);
    model.capacity = 10_000;
    model.queue.drainSoon();
    await settle();
    expect(model.dispatched).toHaveLength(1 + DRAIN_MAX);
    await model.pass(0);
    expect(model.dispatched).toHaveLength(1 + 2 * DRAIN_MAX);
  });
});

describe("a pick that will not wait", () => {
  const FULL = { flowControl: { maxRequests: 2 } };

  it("displaces nobody", () => {
    const model = new QueueModel(FULL);
    fill(model);
    const low = [wait(model, "a", { priority: -1 }), wait(model, "b", { priority: -1 })];
    const { flow: _, ...unable } = pickOf("high", model.nowMs, { priority: 5 });
    expect(model.pick(unable).answer).toMatchObject({ ok: false, reason: "rejected-saturated" });
    expect(low.every((pick) => model.queue.isWaiting(pick))).toBe(true);
    expect(wait(model, "high", { priority: 5 })).toBeDefined();
    expect(low.filter((pick) => model.queue.isWaiting(pick))).toHaveLength(1);
  });

  it("is told and counted with one reason", () => {
    const model = new QueueModel();
    model.setEndpoint(false);
    const { answer } = ask(model, "a", { waitsForEndpoints: false });
    expect(answer).toMatchObject({
      reason: "rejected-no-endpoints",
      retryAfterMs: RETRY_AFTER_MS.noEndpoints,
    });
    expect(model.ends.map(({ reason }) => reason)).toEqual(["rejected-no-endpoints"]);
    expect(model.queue.state().bands[0]!.dropped).toEqual({ "rejected-no-endpoints": 1 });
  });
});

it("counts a wait from when it began, not from when the client came", async () => {
  const model = new QueueModel();
  fill(model);
  wait(model, "a", { receivedAtMs: model.nowMs - 5_000 });
  await model.pass(40);
  model.complete("fill-0");
  await settle();
  expect(model.ends.at(-1)).toMatchObject({ reason: "dispatched", waitMs: 40 });
});

describe("a pool without endpoints", () => {
  it("is asked capacity for once in a while, as long as somebody waits", async () => {
    const model = new QueueModel({ flowControl: { noEndpointRequestTTL: "0s" } });
    model.setEndpoint(false);
    expect(model.queue.asksForCapacity()).toBe(false);
    const open = wait(model, "a");
    expect(model.queue.asksForCapacity()).toBe(true);
    expect(model.queue.asksForCapacity()).toBe(false);
    const answer = open.wait();
    await model.pass(CAPACITY_ASK_MS + 2_000);
    // The one who waits comes back, and is told to ask.
    expect(await answer).toMatchObject({ ok: "queued", askAgainMs: 0 });
    wait(model, "a");
    expect(model.queue.asksForCapacity()).toBe(true);
  });

  it("sends away who has another pool to go to", async () => {
    const model = new QueueModel();
    fill(model);
    const elsewhere = wait(model, "a", { waitsForEndpoints: false });
    wait(model, "b");
    model.setEndpoint(false);
    await model.pass(2_000);
    expect(await elsewhere.wait()).toMatchObject({ reason: "rejected-no-endpoints" });
    expect(model.queue.waitingCount).toBe(1);
  });
});

it("asks for the end of a sheddable request for one of a higher priority", async () => {
  const model = new QueueModel({ flowControl: { enableEviction: true } });
  ask(model, "low", { priority: -1 });
  const high = wait(model, "high");
  expect(model.evicted.map(({ request }) => request.requestId)).toEqual(["low"]);
  expect(model.ends.at(-1)).toMatchObject({ reason: "evicted", priority: -1 });
  model.complete("low");
  expect(await high.wait()).toMatchObject({ ok: true });
});

it("ends nobody who has emitted a byte", () => {
  const model = new QueueModel({ flowControl: { enableEviction: true } });
  ask(model, "low", { priority: -1 });
  model.queue.started("low", 0);
  wait(model, "high");
  expect(model.evicted).toEqual([]);
});
