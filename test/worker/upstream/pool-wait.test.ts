// Waiting in a pool's queue: turns that come, calls that break, places that are asked for again, and
// clients that leave at any moment.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type {
  HeldGrant,
  HeldWait,
  NumberedPlace,
  PickRequest,
} from "../../../src/durable/contract.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import {
  PICK_DEADLINE_MS,
  type PickContext,
  pickEndpoints,
} from "../../../src/worker/upstream/pool-picks.ts";
import {
  LOST_IN_A_ROW_MAX,
  WAIT_DEADLINE_MS,
  WAIT_MS_MAX,
} from "../../../src/worker/upstream/pool-wait.ts";
import {
  WAITING_BODY_BYTES_MAX,
  WaitingBodies,
} from "../../../src/worker/upstream/waiting-bodies.ts";
import {
  fails,
  hangs,
  PICK,
  pickContext,
  place,
  refuses,
  ScriptedObject,
  seenEdge,
} from "../support/scripted-object.ts";

const BODY_BYTES = PICK.request.bodyBytes;
const LEFT = { ok: false, reason: "rejected-context-cancelled" };

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

interface WaiterOptions extends Pick<
  Partial<PickContext>,
  "view" | "edge" | "bodies" | "hasQueue"
> {
  readonly pick?: PickRequest;
}

/** A request on its way, and all that happens around it. */
class Waiter {
  readonly client = new AbortController();
  readonly bodies: WaitingBodies;
  readonly held: Promise<void>[] = [];
  readonly waitedMs: number[] = [];
  capacityAsks = 0;
  outcome: Awaited<ReturnType<typeof pickEndpoints>> | undefined;

  constructor(object: ScriptedObject, { pick = PICK, ...more }: WaiterOptions = {}) {
    const context = pickContext(object, {
      ...more,
      signal: this.client.signal,
      hold: (work) => void this.held.push(work),
      waited: (ms) => void this.waitedMs.push(ms),
      askForCapacity: () => void this.capacityAsks++,
    });
    this.bodies = context.bodies;
    void pickEndpoints(pick, context).then((outcome) => (this.outcome = outcome));
  }

  async after(ms: number): Promise<this> {
    await vi.advanceTimersByTimeAsync(ms);
    return this;
  }

  /** The client leaves, and what the request began is let go on. */
  async leaves(): Promise<this> {
    this.client.abort();
    await vi.advanceTimersByTimeAsync(0);
    return this;
  }
}

describe("a held wait", () => {
  it("ends with the grant, however long that takes, and holds nothing after it", async () => {
    const turn = Promise.withResolvers<HeldGrant>();
    const object = new ScriptedObject();
    const waiter = new Waiter(object.goOn(object.waits(() => turn.promise)));
    await waiter.after(10 * PICK_DEADLINE_MS);
    expect(waiter.outcome).toBeUndefined();
    expect(waiter.bodies.heldBytes).toBe(BODY_BYTES);
    const stages = ["10.0.0.8:8000", "", "", ""];
    turn.resolve(object.grant({ stages }));
    await waiter.after(0);
    const granted = { ok: true, ticket: "e-1", isLocal: false, stages };
    expect(waiter.outcome).toMatchObject(granted);
    expect([object.waitsDisposed, object.grantsDisposed]).toEqual([1, 0]);
    expect(waiter.bodies.heldBytes).toBe(0);
    expect(waiter.waitedMs).toEqual([10 * PICK_DEADLINE_MS]);
  });

  it("ends with the object's refusal", async () => {
    const object = new ScriptedObject();
    const waiter = new Waiter(object.goOn(object.waits(refuses("rejected-ttl-expired"))));
    await waiter.after(0);
    expect(waiter.outcome).toMatchObject({ reason: "rejected-ttl-expired", retryAfterMs: 7_000 });
    expect([object.waitsDisposed, waiter.bodies.heldBytes]).toEqual([1, 0]);
  });

  it("gives all keys to a grant that wants them, and to no other", async () => {
    const object = new ScriptedObject();
    const wantsKeys = async () => object.grant({ wantsKeys: true });
    await new Waiter(object.goOn(object.waits(wantsKeys))).after(0);
    expect(object.learned).toEqual([PICK.request.keys]);
    await new Waiter(object.goOn(object.waits(object.grants))).after(0);
    expect(object.learned).toHaveLength(1);
  });
});

describe("a numbered place", () => {
  it("is asked for again by the same pick, when the object said", async () => {
    const object = new ScriptedObject(place(2_000), place(3_000));
    const waiter = await new Waiter(object.goOn(object.grants)).after(1_999);
    expect(object.calls).toHaveLength(1);
    await waiter.after(250);
    expect(object.calls).toHaveLength(2);
    await waiter.after(3_500);
    expect(waiter.outcome).toMatchObject({ ok: true, ticket: "e-1" });
    const sent = object.calls.map(({ attempt, flow }) => ({ attempt, flow }));
    expect(sent).toEqual(Array(3).fill({ attempt: PICK.attempt, flow: PICK.flow }));
  });

  it("may come out of a held wait, and become one again", async () => {
    const object = new ScriptedObject();
    object.goOn(object.waits(place(1_000)), object.waits(object.grants));
    const waiter = await new Waiter(object).after(1_200);
    expect(waiter.outcome).toMatchObject({ ok: true });
    expect(object.waitsDisposed).toBe(2);
  });

  it.for([
    { said: 0, atLeastMs: 50 },
    { said: Number.MAX_VALUE, atLeastMs: 600_000 },
  ])("is asked for within bounds if the object says $said ms", async ({ said, atLeastMs }) => {
    const object = new ScriptedObject(place(said), hangs);
    const waiter = await new Waiter(object).after(atLeastMs - 1);
    expect(object.calls).toHaveLength(1);
    await waiter.after(1 + Math.min(1_000, 0.1 * atLeastMs));
    expect(object.calls).toHaveLength(2);
  });

  it("is not asked for for ever", async () => {
    const forEver = Array.from({ length: 100 }, () => place(60_000));
    const object = new ScriptedObject(...forEver);
    const waiter = await new Waiter(object).after(WAIT_MS_MAX - 1);
    expect(waiter.outcome).toBeUndefined();
    await waiter.after(66_000);
    expect(waiter.outcome).toMatchObject({ reason: "rejected-ttl-expired" });
    expect(object.left).toEqual([["fl-1", 1]]);
  });
});

describe("a wait that is lost", () => {
  it.for([
    { name: "because the object was reset", lost: fails(), afterMs: 0 },
    { name: "because nobody answers", lost: hangs, afterMs: WAIT_DEADLINE_MS },
  ])("$name begins anew in the same place", async ({ lost, afterMs }) => {
    const object = new ScriptedObject();
    object.goOn(object.waits(lost), object.waits(object.grants));
    const waiter = await new Waiter(object).after(afterMs + 400);
    expect(waiter.outcome).toMatchObject({ ok: true });
    expect(object.calls.map(({ flow }) => flow?.receivedAtMs)).toEqual([990_000, 990_000]);
    expect([object.calls[1]!.attempt, object.waitsDisposed, object.portCount]).toEqual([1, 2, 2]);
  });

  it("a number of times in a row is an object that is away", async () => {
    const lost = (object: ScriptedObject) =>
      Array.from({ length: LOST_IN_A_ROW_MAX + 1 }, () => object.waits(fails()));
    const object = new ScriptedObject();
    const waiter = await new Waiter(object.goOn(...lost(object))).after(30_000);
    expect(waiter.outcome).toMatchObject({ ok: false, reason: "unavailable" });
    expect(object.calls).toHaveLength(LOST_IN_A_ROW_MAX + 1);
    expect(waiter.bodies.heldBytes).toBe(0);
    const known = new ScriptedObject();
    const view = new PoolView();
    const edge = seenEdge(view);
    const served = await new Waiter(known.goOn(...lost(known)), { view, edge }).after(30_000);
    expect(served.outcome).toMatchObject({ ok: true, isLocal: true });
    expect(view.isAway(Date.now())).toBe(false);
  });

  it("counts from the start once the object has let it wait", async () => {
    const object = new ScriptedObject();
    const lost = () => Array.from({ length: LOST_IN_A_ROW_MAX }, () => fails());
    object.goOn(place(100), ...lost(), place(100), ...lost(), object.grants);
    const waiter = await new Waiter(object).after(60_000);
    expect(waiter.outcome).toMatchObject({ ok: true, isLocal: false });
  });

  it("is found out by the one retry of a pick that is safe", async () => {
    const object = new ScriptedObject(place(100), fails({ retryable: true }));
    const waiter = await new Waiter(object.goOn(object.grants)).after(250);
    expect(waiter.outcome).toMatchObject({ ok: true });
  });
});

describe("a client that leaves", () => {
  it("while the pick is under way has whatever it brings given back", async () => {
    const object = new ScriptedObject();
    const late = [
      Promise.withResolvers<HeldGrant>(),
      Promise.withResolvers<HeldWait>(),
      Promise.withResolvers<NumberedPlace>(),
    ] as const;
    object.goOn(
      ...late.map(
        ({ promise }) =>
          () =>
            promise,
      ),
    );
    const waiters = late.map(() => new Waiter(object));
    for (const waiter of waiters) expect((await waiter.leaves()).outcome).toMatchObject(LEFT);
    late[0].resolve(object.grant());
    late[1].resolve(await object.waits(hangs)());
    late[2].resolve(await place(100)());
    await vi.advanceTimersByTimeAsync(0);
    expect([object.grantsDisposed, object.waitsDisposed]).toEqual([1, 1]);
    expect(object.left).toEqual([["fl-1", 1]]);
    // The context stays until that is done, and no longer.
    for (const { held } of waiters) await Promise.all(held);
    expect(object.calls).toHaveLength(3);
  });

  it("while the pick hangs keeps its context no longer than a pick may take", async () => {
    const waiter = await new Waiter(new ScriptedObject(hangs)).leaves();
    let isEnded = false;
    void Promise.all(waiter.held).then(() => (isEnded = true));
    await waiter.after(PICK_DEADLINE_MS - 1);
    expect(isEnded).toBe(false);
    await waiter.after(1);
    expect(isEnded).toBe(true);
  });

  it("while it waits leaves the queue at once, and a grant on its way is given back", async () => {
    const turn = Promise.withResolvers<HeldGrant>();
    const object = new ScriptedObject();
    const waiter = new Waiter(object.goOn(object.waits(() => turn.promise)));
    await (await waiter.after(100)).leaves();
    expect(waiter.outcome).toMatchObject(LEFT);
    expect([object.waitsDisposed, waiter.bodies.heldBytes]).toEqual([1, 0]);
    // The open call keeps the handle alive, so the object has to be told.
    expect(object.left).toEqual([["fl-1", 1]]);
    turn.resolve(object.grant());
    await waiter.after(0);
    expect(object.grantsDisposed).toBe(1);
  });

  it("with a place leaves it at once, whatever the object makes of it", async () => {
    const object = new ScriptedObject(place(60_000));
    const waiter = await (await new Waiter(object).after(100)).leaves();
    expect(waiter.outcome).toMatchObject(LEFT);
    await Promise.all(waiter.held);
    expect(object.left).toEqual([["fl-1", 1]]);
    expect(waiter.bodies.heldBytes).toBe(0);
  });

  it("while its place is asked for again leaves that place", async () => {
    const again = Promise.withResolvers<NumberedPlace>();
    const object = new ScriptedObject(place(100), () => again.promise);
    const waiter = await (await new Waiter(object).after(200)).leaves();
    expect(waiter.outcome).toMatchObject(LEFT);
    again.resolve(await place(100)());
    await waiter.after(0);
    expect(object.left).toHaveLength(1);
  });

  it("after a call was lost is not picked for again", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.99);
    const object = new ScriptedObject();
    const waiter = await new Waiter(object.goOn(object.waits(fails()))).after(1);
    await (await waiter.leaves()).after(10_000);
    expect(waiter.outcome).toMatchObject(LEFT);
    expect(object.calls).toHaveLength(1);
    expect(object.left).toHaveLength(1);
    vi.restoreAllMocks();
  });

  it("before the pick is not picked for", async () => {
    const object = new ScriptedObject();
    const client = new AbortController();
    client.abort();
    const outcome = await pickEndpoints(PICK, pickContext(object, { signal: client.signal }));
    expect(outcome).toMatchObject(LEFT);
    expect(object.calls).toEqual([]);
  });
});

describe("bodies that wait", () => {
  const kinds = ["held", "place"] as const;
  /** Bytes of others beside which there is no room for BODY_BYTES. */
  const TOO_MANY = WAITING_BODY_BYTES_MAX - BODY_BYTES + 1;
  const NO_ROOM = "the pool is full, and this isolate holds as many bodies";

  async function pickBeside(others: number, object: ScriptedObject, more: WaiterOptions = {}) {
    const bodies = new WaitingBodies();
    bodies.tryHold(others);
    return new Waiter(object, { ...more, bodies }).after(0);
  }

  it.for(kinds)("have room up to the bound: %s", async (kind) => {
    const object = new ScriptedObject();
    object.goOn(kind === "held" ? object.waits(hangs) : place(60_000));
    const waiter = await pickBeside(WAITING_BODY_BYTES_MAX - BODY_BYTES, object);
    expect(waiter.outcome).toBeUndefined();
    expect(waiter.bodies.heldBytes).toBe(WAITING_BODY_BYTES_MAX);
    expect(object.calls[0]?.flow).toEqual(PICK.flow);
  });

  it("past the bound are no ones that wait, to the object neither", async () => {
    const object = new ScriptedObject(refuses());
    const waiter = await pickBeside(TOO_MANY, object);
    const outcome = { reason: "rejected-saturated", retryAfterMs: 7_000 };
    const detail = expect.stringContaining(NO_ROOM) as string;
    expect(waiter.outcome).toMatchObject({ ...outcome, detail });
    expect(object.calls).toEqual([{ ...object.calls[0], request: PICK.request }]);
    expect(object.calls[0]).not.toHaveProperty("flow");
    expect([object.waitsDisposed, object.left]).toEqual([0, []]);
    expect(waiter.bodies.heldBytes).toBe(TOO_MANY);
  });

  it("past the bound are served where the pool has room", async () => {
    const object = new ScriptedObject();
    const waiter = await pickBeside(TOO_MANY, object.goOn(object.grants));
    expect(waiter.outcome).toMatchObject({ ok: true, ticket: "e-1" });
    expect(waiter.bodies.heldBytes).toBe(TOO_MANY);
  });

  it.for(kinds)("past the bound leave a queue they were let into: %s", async (kind) => {
    const object = new ScriptedObject();
    object.goOn(kind === "held" ? object.waits(hangs) : place(60_000));
    const waiter = await pickBeside(TOO_MANY, object);
    expect(waiter.outcome).toMatchObject({ reason: "rejected-saturated", retryAfterMs: 1_000 });
    expect([object.waitsDisposed, object.left.length]).toEqual(kind === "held" ? [1, 0] : [0, 1]);
  });

  it.for([
    { bytes: WAITING_BODY_BYTES_MAX, hasQueue: true, retryAfterMs: 7_000 },
    { bytes: WAITING_BODY_BYTES_MAX + 1, hasQueue: true, retryAfterMs: 0 },
    // Without a queue its size is not why it was refused.
    { bytes: WAITING_BODY_BYTES_MAX + 1, hasQueue: false, retryAfterMs: 7_000 },
  ])("of $bytes bytes may come again: $retryAfterMs", async ({ bytes, hasQueue, retryAfterMs }) => {
    const pick = { ...PICK, request: { ...PICK.request, bodyBytes: bytes } };
    const waiter = await pickBeside(1, new ScriptedObject(refuses()), { pick, hasQueue });
    expect(waiter.outcome).toMatchObject({ reason: "rejected-saturated", retryAfterMs });
  });

  it("keep the object's other refusals", async () => {
    const waiter = await pickBeside(TOO_MANY, new ScriptedObject(refuses("rejected-no-endpoints")));
    expect(waiter.outcome).toMatchObject({ reason: "rejected-no-endpoints", detail: "full" });
  });
});

describe("a pool without endpoints", () => {
  it("is asked for by those who are told to, once each time", async () => {
    const object = new ScriptedObject();
    const asks = { asksForCapacity: true } as const;
    object.goOn(object.waits(place(1_000, asks), asks), place(1_000), place(1_000, asks), hangs);
    const waiter = await new Waiter(object).after(4_000);
    expect(waiter.capacityAsks).toBe(3);
  });
});
