import { describe, expect, it } from "vitest";
import type { NumberedPlace } from "../../../src/durable/contract.ts";
import { ASK_AGAIN_MS, ASKS_PER_SECOND_MAX } from "../../../src/durable/queue/ask-again.ts";
import { PLACE_GRACE_MS, WAIT_CALL_MS } from "../../../src/durable/queue/calls-and-places.ts";
import { type WaitAnswer, WaitingPick } from "../../../src/durable/queue/waiting-pick.ts";
import { ask, fill, isGranted, isPlace, QueueModel, settle, wait } from "./queue-model.ts";

const MANY = { limits: { openWaitsMax: 2 } };

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
