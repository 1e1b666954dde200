// Asking a pool's object that answers, fails, hangs or is gone.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { parseTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import type { HeldGrant } from "../../../src/durable/contract.ts";
import {
  PICK_DEADLINE_MS,
  PICK_DEADLINE_WITH_REPLICA_MS,
  pickEndpoints,
} from "../../../src/worker/upstream/pool-picks.ts";
import {
  ADDRESSES,
  fails,
  pickContext,
  PICK as REQUEST,
  ScriptedObject,
  newEdge,
  seenEdge,
} from "../support/scripted-object.ts";
import { SNAPSHOT_SERVES_AWAY_MS } from "../../../src/scheduler/edge/consult-rule.ts";
import { REPLICA_ASK_IDLE_MS } from "../../../src/worker/edge/object-link.ts";
import { AWAY_MS } from "../../../src/worker/upstream/pool-view.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Lets time pass until the pick is decided. */
async function picked(object: ScriptedObject, edge = newEdge()) {
  const outcome = pickEndpoints(REQUEST, pickContext(object, { edge, hasQueue: false }));
  await vi.advanceTimersByTimeAsync(PICK_DEADLINE_MS + 1_000);
  return outcome;
}

describe("an object that answers", () => {
  it("grants, tells its snapshot when asked, and is given back what is not used", async () => {
    const object = new ScriptedObject();
    const edge = newEdge();
    const script = new ScriptedObject(object.grants, object.grants, object.grants);
    const first = await picked(script, edge);
    expect(first).toMatchObject({ ok: true, ticket: "e-1", isLocal: false });
    if (!first.ok) return;
    first.release("relay-unreachable");
    first[Symbol.dispose]();
    expect([object.released, object.grantsDisposed]).toEqual([["relay-unreachable"], 1]);
    expect(script.calls[0]).toMatchObject({
      edge: { epoch: "", version: 0 },
      terms: "consult no-snapshot - - 0 1 0 0 0",
    });
    const context = pickContext(script, { edge: seenEdge() });
    await pickEndpoints(REQUEST, context);
    expect(script.calls[1]).not.toHaveProperty("edge");
    await vi.advanceTimersByTimeAsync(REPLICA_ASK_IDLE_MS);
    await pickEndpoints(REQUEST, context);
    expect(script.calls[2]).toMatchObject({ edge: { epoch: "e", version: 2 } });
  });

  it("is believed when it refuses", async () => {
    const refusal = {
      ok: false,
      reason: "rejected-saturated",
      detail: "",
      retryAfterMs: 1,
    } as const;
    const script = new ScriptedObject(async () => refusal);
    expect(await picked(script, seenEdge())).toEqual(refusal);
  });
});

describe("an object that fails", () => {
  it("cannot be told what an upstream's answer used: that is counted", async () => {
    const counted = () =>
      Number(
        new RegExp(`^${METRIC.unmeteredAnswersTotal.name} (\\d+)`, "m").exec(
          metrics.render(),
        )?.[1] ?? 0,
      );
    const before = counted();
    const grant = await picked(new ScriptedObject(fails({})), seenEdge());
    if (!grant.ok) throw new Error(grant.detail);
    const end = { outcome: "completed", ttftMs: 1, durationMs: 2 } as const;
    await grant.settle({ ...end, status: 200 });
    await grant.settle({ ...end, status: 429 });
    expect(counted()).toBe(before + 1);
  });

  it("is asked once more, through a fresh stub, if that is safe", async () => {
    const object = new ScriptedObject();
    const script = new ScriptedObject(fails({ retryable: true }), object.grants);
    expect(await picked(script)).toMatchObject({ ok: true, ticket: "e-1" });
    expect(script.portCount).toBe(2);
  });

  it.for([
    { name: "twice", flags: { retryable: true }, calls: 2 },
    { name: "for good", flags: {}, calls: 1 },
    { name: "from overload", flags: { retryable: true, overloaded: true }, calls: 1 },
  ])("$name is asked $calls times, and the snapshot stands in", async ({ flags, calls }) => {
    const script = new ScriptedObject(fails(flags), fails(flags));
    const grant = await picked(script, seenEdge());
    expect(script.calls).toHaveLength(calls);
    expect(grant).toMatchObject({ ok: true, isLocal: true, endpoints: ADDRESSES });
    const bare = new ScriptedObject(fails(flags), fails(flags));
    expect(await picked(bare)).toMatchObject({ ok: false, reason: "unavailable" });
  });

  it.for([
    { subset: ["10.0.0.2"], endpoints: ["10.0.0.2:8000"] },
    { subset: ["10.9.9.9"], endpoints: undefined },
    { subset: [], endpoints: undefined },
  ])("does not widen the subset $subset while it is away", async ({ subset, endpoints }) => {
    const script = new ScriptedObject(fails({}));
    const request = { ...REQUEST, request: { ...REQUEST.request, subset } };
    const context = pickContext(script, { edge: seenEdge() });
    const grant = await pickEndpoints(request, context);
    expect("endpoints" in grant ? grant.endpoints : undefined).toEqual(endpoints);
  });

  it("is left alone for a lease, then asked again", async () => {
    const object = new ScriptedObject();
    const script = new ScriptedObject(fails({}), object.grants);
    const context = pickContext(script, { edge: seenEdge() });
    expect(await pickEndpoints(REQUEST, context)).toMatchObject({ isLocal: true });
    expect(await pickEndpoints(REQUEST, context)).toMatchObject({ isLocal: true });
    expect(script.calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(AWAY_MS);
    expect(await pickEndpoints(REQUEST, context)).toMatchObject({ isLocal: false });
  });

  it.for([
    { hasQueue: false, deadlineMs: PICK_DEADLINE_WITH_REPLICA_MS },
    { hasQueue: true, deadlineMs: PICK_DEADLINE_MS },
  ])("is asked by one request while it hangs: $hasQueue", async ({ hasQueue, deadlineMs }) => {
    const hangs = () => new Promise<never>(() => undefined);
    const script = new ScriptedObject(fails({}), hangs);
    const context = pickContext(script, { edge: seenEdge(), hasQueue });
    await pickEndpoints(REQUEST, context);
    await vi.advanceTimersByTimeAsync(AWAY_MS);
    const probe = pickEndpoints(REQUEST, context);
    // The others do not wait for it.
    await vi.advanceTimersByTimeAsync(deadlineMs - 1);
    for (let i = 0; i < 5; i++) {
      expect(await pickEndpoints(REQUEST, context)).toMatchObject({ isLocal: true });
    }
    expect(script.calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(await probe).toMatchObject({ isLocal: true });
  });

  it("is not stood in for once the snapshot is too old", async () => {
    const edge = seenEdge();
    await vi.advanceTimersByTimeAsync(SNAPSHOT_SERVES_AWAY_MS + 1);
    const script = new ScriptedObject(fails({}));
    expect(await picked(script, edge)).toMatchObject({ ok: false, reason: "unavailable" });
  });
});

describe("an object that hangs", () => {
  it.for([
    {
      view: "a snapshot",
      known: true,
      hasQueue: false,
      deadlineMs: PICK_DEADLINE_WITH_REPLICA_MS,
    },
    { view: "nothing", known: false, hasQueue: false, deadlineMs: PICK_DEADLINE_MS },
    // Who passes a queue by is served out of turn.
    { view: "a snapshot and a queue", known: true, hasQueue: true, deadlineMs: PICK_DEADLINE_MS },
  ])("is waited for $deadlineMs ms with $view at hand", async (want) => {
    const { known, hasQueue, deadlineMs } = want;
    const script = new ScriptedObject(() => new Promise(() => undefined));
    let outcome: unknown;
    const edge = known ? seenEdge() : newEdge();
    const context = pickContext(script, { edge, hasQueue });
    void pickEndpoints(REQUEST, context).then((value) => (outcome = value));
    await vi.advanceTimersByTimeAsync(deadlineMs - 1);
    expect(outcome).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2);
    expect(outcome).toMatchObject(known ? { isLocal: true } : { reason: "unavailable" });
  });

  it("has what it grants too late disposed", async () => {
    const object = new ScriptedObject();
    const late = Promise.withResolvers<HeldGrant>();
    const script = new ScriptedObject(() => late.promise);
    expect(await picked(script)).toMatchObject({ reason: "unavailable" });
    late.resolve(await object.grants());
    await vi.advanceTimersByTimeAsync(1);
    expect(object.grantsDisposed).toBe(1);
  });
});

describe("a ticket of our own", () => {
  it("is one that an object can put back, of an epoch it never had, and never twice", async () => {
    const context = pickContext(new ScriptedObject(fails({}), fails({})), { edge: seenEdge() });
    const grants = [await pickEndpoints(REQUEST, context), await pickEndpoints(REQUEST, context)];
    const [one, two] = grants.map((grant) => (grant.ok ? grant.ticket : ""));
    expect(one).not.toBe(two);
    expect(parseTicketName(one!)).toMatchObject({
      promptTokens: 900,
      outputTokens: 100,
      reservedTokens: 1_000,
      priority: 3,
    });
    const [first] = grants;
    if (!first?.ok) throw new Error("no grant");
    first.release("cancelled");
    first[Symbol.dispose]();
  });
});
