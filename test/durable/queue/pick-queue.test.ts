import { describe, expect, it } from "vitest";
import { ASK_AGAIN_MS, ASKS_PER_SECOND_MAX } from "../../../src/durable/queue/ask-again.ts";
import { CAPACITY_ASK_MS } from "../../../src/durable/queue/capacity-asks.ts";
import { DRAIN_MAX, PLACE_GRACE_MS, WAIT_CALL_MS } from "../../../src/durable/queue/pick-queue.ts";
import { RETRY_AFTER_MS } from "../../../src/scheduler/flow-control/drain-rate.ts";
import type { NumberedPlace } from "../../../src/durable/contract.ts";
import { type WaitAnswer, WaitingPick } from "../../../src/durable/queue/waiting-pick.ts";
import { isGranted, isPlace, pickOf, type PickShape, QueueModel, settle } from "./queue-model.ts";

const MANY = { limits: { openWaitsMax: 2 } };

function fill(model: QueueModel): void {
  for (let i = model.inFlight.size; i < model.capacity; i++)
    expect(isGranted(model.pick(pickOf(`fill-${i}`, model.nowMs)).answer)).toBe(true);
}

function ask(model: QueueModel, id: string, shape: PickShape = {}) {
  return model.pick(pickOf(id, model.nowMs, shape));
}

/** The wait of a request that gets an open call. */
function wait(model: QueueModel, id: string, shape: PickShape = {}): WaitingPick {
  const { answer } = ask(model, id, shape);
  if (!(answer instanceof WaitingPick)) throw new Error(`${id}: ${JSON.stringify(answer)}`);
  return answer;
}

/** At most for as long as a call may be open. */
async function passUntil(model: QueueModel, call: Promise<unknown>): Promise<void> {
  let isAnswered = false;
  void call.then(() => (isAnswered = true));
  for (let ms = 0; ms < WAIT_CALL_MS + 2_000 && !isAnswered; ms += 500) await model.pass(500);
}

describe("numbered places", () => {
  it("go to whom there is no open call for, and are told when to ask again", () => {
    const model = new QueueModel(MANY);
    fill(model);
    wait(model, "a");
    wait(model, "b");
    const { answer } = ask(model, "c");
    expect(answer).toMatchObject({ ok: "queued", ahead: 2 });
    const { askAgainMs } = answer as NumberedPlace;
    expect(askAgainMs).toBeGreaterThanOrEqual(ASK_AGAIN_MS.min);
    expect(askAgainMs).toBeLessThanOrEqual(2 * ASK_AGAIN_MS.unknown);
    expect(model.queue.state()).toMatchObject({ openWaits: 2, places: 1 });
  });

  it("keep their order: who asks again in time is served where it came", async () => {
    const model = new QueueModel(MANY);
    fill(model);
    const receivedAtMs = model.nowMs;
    const open = [wait(model, "a"), wait(model, "b")];
    ask(model, "c", { receivedAtMs });
    await model.pass(10);
    model.complete("fill-0");
    await settle();
    expect(model.dispatched.at(-1)).toBe("a");
    const late = wait(model, "d");
    expect(ask(model, "c", { receivedAtMs }).answer).toBeInstanceOf(WaitingPick);
    expect(model.askedAgainCount).toBe(1);
    // The call of the last one was needed.
    expect(await late.wait()).toMatchObject({ ok: "queued" });
    for (const next of ["b", "c"]) {
      model.complete(model.dispatched.at(-1)!);
      await settle();
      expect(model.dispatched.at(-1)).toBe(next);
    }
    expect(open).toHaveLength(2);
  });

  it("are passed over while they are away, and nobody idles for them", async () => {
    const model = new QueueModel({ capacity: 1, limits: { openWaitsMax: 1 } });
    fill(model);
    wait(model, "a");
    ask(model, "b");
    model.complete("fill-0");
    await settle();
    model.complete("a");
    await settle();
    expect(model.inFlight.size).toBe(0);
    expect(isGranted(ask(model, "c").answer)).toBe(true);
    expect(model.dispatched.at(-1)).toBe("c");
    model.complete("c");
    expect(isGranted(ask(model, "b").answer)).toBe(true);
  });

  it("are given up when nobody asks", async () => {
    const model = new QueueModel(MANY);
    fill(model);
    for (const id of ["a", "b", "c"]) ask(model, id);
    await model.pass(ASK_AGAIN_MS.min + PLACE_GRACE_MS + 2_000);
    expect(model.queue.state()).toMatchObject({ openWaits: 2, places: 0 });
    expect(model.ends.at(-1)).toMatchObject({ reason: "rejected-context-cancelled" });
    // Its client was there after all: it waits anew.
    expect(isPlace(ask(model, "c").answer)).toBe(true);
  });

  it("are asked for no more often than the object can bear, and not all at once", () => {
    const model = new QueueModel(MANY);
    fill(model);
    const places = 5_000;
    const told: number[] = [];
    for (let i = 0; i < places + 2; i++) {
      const { answer } = ask(model, `p${i}`);
      if (isPlace(answer)) told.push((answer as NumberedPlace).askAgainMs);
    }
    const last = told.slice(-1_000);
    const meanMs = last.reduce((sum, ms) => sum + ms, 0) / last.length;
    expect(meanMs).toBeGreaterThan((900 * (places - 1_000)) / ASKS_PER_SECOND_MAX);
    expect(new Set(last.map((ms) => Math.floor(ms / 500))).size).toBeGreaterThan(10);
  });

  it("hear of their end when they ask", async () => {
    const model = new QueueModel(MANY);
    fill(model);
    for (const id of ["a", "b"]) ask(model, id);
    ask(model, "c", { ttlMs: 100 });
    await model.pass(400);
    expect(ask(model, "c", { ttlMs: 100 }).answer).toMatchObject({
      ok: false,
      reason: "rejected-ttl-expired",
    });
    expect(model.queue.state().places).toBe(0);
  });

  it("can be left, as open calls can", async () => {
    const model = new QueueModel(MANY);
    fill(model);
    for (const id of ["a", "b", "c"]) ask(model, id);
    model.queue.leave("c", 0);
    model.queue.leave("a", 0);
    model.queue.leave("nobody", 0);
    expect(model.queue.state()).toMatchObject({ openWaits: 1, places: 0 });
    expect(model.queue.waitingCount).toBe(1);
  });
});

describe("open calls", () => {
  it("are shared out among flows, so the head of each is there", () => {
    const model = new QueueModel({ limits: { openWaitsMax: 4 } });
    fill(model);
    const noisy = ["a", "b", "c", "d"].map((id) => wait(model, id, { fairnessId: "noisy" }));
    expect(wait(model, "q1", { fairnessId: "quiet" })).toBeDefined();
    expect(noisy.map(({ isAway }) => isAway)).toEqual([false, false, false, true]);
    expect(wait(model, "q2", { fairnessId: "quiet" })).toBeDefined();
    // Two each: no more of either has a better claim.
    expect(isPlace(ask(model, "q3", { fairnessId: "quiet" }).answer)).toBe(true);
    expect(isPlace(ask(model, "e", { fairnessId: "noisy" }).answer)).toBe(true);
  });

  it("go to a higher priority before a lower one", () => {
    const model = new QueueModel(MANY);
    fill(model);
    const low = [wait(model, "a"), wait(model, "b")];
    wait(model, "h1", { priority: 1 });
    wait(model, "h2", { priority: 1 });
    expect(low.every(({ isAway }) => isAway)).toBe(true);
    expect(isPlace(ask(model, "c").answer)).toBe(true);
  });

  it("end with a place after a while, so that a Worker can tell a lost one", async () => {
    const model = new QueueModel({ flowControl: { defaultRequestTTL: "0s" } });
    fill(model);
    const open = wait(model, "a");
    const answer = open.wait();
    await passUntil(model, answer);
    expect(await answer).toMatchObject({ ok: "queued", askAgainMs: 0 });
    expect(model.queue.waitingCount).toBe(1);
  });

  it("keep their turn while they are renewed", async () => {
    const model = new QueueModel({ flowControl: { defaultRequestTTL: "0s" } });
    fill(model);
    const { answer, holder } = ask(model, "a");
    const call = (answer as WaitingPick).wait();
    await passUntil(model, call);
    expect(await call).toMatchObject({ askAgainMs: 0 });
    // As its Worker lets go of the handle whose call was answered.
    model.queue.dropped(answer as WaitingPick, holder);
    model.complete("fill-0");
    await settle();
    expect(model.dispatched.at(-1)).toBe("a");
  });

  it("of those who came together are not renewed together", async () => {
    const model = new QueueModel({ flowControl: { defaultRequestTTL: "0s" } });
    fill(model);
    const renewed: number[] = [];
    for (let i = 0; i < 200; i++)
      void wait(model, `w${i}`)
        .wait()
        .then(() => renewed.push(model.nowMs));
    await model.pass(WAIT_CALL_MS + 2_000);
    const bySecond = new Map<number, number>();
    for (const ms of renewed) bySecond.set(ms, (bySecond.get(ms) ?? 0) + 1);
    expect(renewed).toHaveLength(200);
    expect(Math.max(...bySecond.values())).toBeLessThan(40);
  });

  it("that are answered keep no other call waiting", async () => {
    const model = new QueueModel();
    fill(model);
    const first = ask(model, "a");
    const before = (first.answer as WaitingPick).wait();
    expect(ask(model, "a").answer).toBe(first.answer);
    expect(await before).toMatchObject({ ok: "queued" });
    // Its handle speaks for nobody any more.
    model.queue.dropped(first.answer as WaitingPick, first.holder);
    expect(model.queue.waitingCount).toBe(1);
  });
});

it("serves flows in their order, though most of them wait with places", async () => {
  const model = new QueueModel({ capacity: 10, limits: { openWaitsMax: 20 } });
  fill(model);
  const flows = 10;
  const waitingFor = new Map<string, { atMs: number; fairnessId: string; receivedAtMs: number }>();
  const asks = new Map<string, number>();
  const go = (id: string, fairnessId: string, receivedAtMs: number) => {
    asks.set(id, (asks.get(id) ?? 0) + 1);
    const heard = (answer: WaitAnswer) => {
      if (answer.ok !== "queued") return void waitingFor.delete(id);
      const atMs = model.nowMs + Math.max(50, answer.askAgainMs);
      waitingFor.set(id, { atMs, fairnessId, receivedAtMs });
    };
    const { answer } = ask(model, id, { fairnessId, receivedAtMs });
    waitingFor.set(id, { atMs: Infinity, fairnessId, receivedAtMs });
    if (answer instanceof WaitingPick) void answer.wait().then(heard);
    else heard(answer);
  };
  for (let i = 0; i < 400; i++) go(`r${i}`, `f${i % flows}`, model.nowMs);
  for (let step = 0; step < 400; step++) {
    const [done] = model.inFlight;
    if (done !== undefined) model.complete(done);
    go(`r${400 + step}`, `f${step % flows}`, model.nowMs);
    await model.pass(50);
    for (const [id, { atMs, fairnessId, receivedAtMs }] of waitingFor)
      if (atMs <= model.nowMs) go(id, fairnessId, receivedAtMs);
  }
  const served = model.dispatched
    .filter((id) => id.startsWith("r"))
    .map((id) => Number(id.slice(1)));
  // All who came first are served before nearly all who came later.
  expect(served.filter((i) => i < 400).length).toBeGreaterThan(0.9 * served.length);
  expect(Math.max(...asks.values())).toBeLessThan(60);
}, 60_000);

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
