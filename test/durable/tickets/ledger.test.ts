import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NO_SLOT, type ReleasedBy, type Settlement } from "../../../src/durable/tickets/ticket.ts";
import {
  type RestoreOutcome,
  TICKET_LIMITS,
  type TicketLimits,
} from "../../../src/durable/tickets/ledger-options.ts";
import { TicketLedger } from "../../../src/durable/tickets/ledger.ts";

const BLOCK_WORDS = 2;
const END_OK = {
  isPromptCached: true,
  ttftMs: 20,
  promptTokens: 100,
  cachedTokens: 64,
  completionTokens: 10,
};

/** A ledger over counters and a map instead of the endpoint table and the prefix tree. */
function createHarness(limits: TicketLimits = TICKET_LIMITS, epoch = "e") {
  let nowMs = 1_000;
  const requests = new Map<number, number>();
  const tokens = new Map<number, number>();
  const held = new Map<string, Set<number>>();
  const takenBack: number[][] = [];
  const completed: (number | null)[][] = [];
  const released: ReleasedBy[] = [];
  const restored: RestoreOutcome[] = [];
  const settled = new Set<string>();
  const blocks = (keys: Uint32Array) =>
    Array.from({ length: keys.length / BLOCK_WORDS }, (_, i) => String(keys[i * BLOCK_WORDS]));
  const add = (map: Map<number, number>, slot: number, by: number) =>
    map.set(slot, (map.get(slot) ?? 0) + by);
  const learner = {
    heldBlocks(keys: Uint32Array, slot: number) {
      const missing = blocks(keys).findIndex((block) => !held.get(block)?.has(slot));
      return missing === -1 ? blocks(keys).length : missing;
    },
    learn(keys: Uint32Array, slot: number) {
      const before = this.heldBlocks(keys, slot);
      for (const block of blocks(keys)) {
        const holders = held.get(block) ?? new Set();
        held.set(block, holders.add(slot));
      }
      return before;
    },
    forget(keys: Uint32Array, firstBlock: number, slot: number) {
      for (const block of blocks(keys).slice(firstBlock)) held.get(block)?.delete(slot);
    },
  };
  const ledger = new TicketLedger({
    epoch,
    clock: () => nowMs,
    limits,
    learner,
    load: {
      dispatched(slot, count) {
        add(requests, slot, 1);
        add(tokens, slot, count);
        return { atMs: nowMs, aheadTokens: 0, isHeld: false };
      },
      dispatchedBefore(slot, count, atMs) {
        return { ...this.dispatched(slot, count, nowMs), atMs };
      },
      released(slot, count) {
        add(requests, slot, -1);
        add(tokens, slot, -count);
      },
      promptAdded: () => undefined,
      handedOver: () => undefined,
      takenBack: (slot, uncachedTokens) => void takenBack.push([slot, uncachedTokens]),
      completed: (slot, { ttftMs, decodeMs, workTokens }) =>
        void completed.push([slot, ttftMs, decodeMs, workTokens]),
    },
    onReleased: (by) => released.push(by),
    isSettled: (ticket) => settled.has(ticket),
    onRestored: (outcome) => restored.push(outcome),
  });
  let created = 0;
  return {
    ledger,
    takenBack,
    completed,
    released,
    restored,
    settled,
    learner,
    advance: (ms: number) => (nowMs += ms),
    requests: (slot: number) => requests.get(slot) ?? 0,
    tokens: (slot: number) => tokens.get(slot) ?? 0,
    forgetLoad: (slot: number) => {
      requests.delete(slot);
      tokens.delete(slot);
    },
    open(slot = 0, keys = new Uint32Array([1, 0, 2, 0]), holder = 7, isWorkers = false) {
      created += 1;
      return ledger.open({
        requestId: `r${created}`,
        attempt: 0,
        tenant: "acme",
        model: "m",
        priority: 0,
        keys,
        promptTokens: 100,
        outputTokens: 50,
        reservedTokens: 120,
        slot,
        endpoints: [`e${slot}:1`],
        holder,
        isWorkers,
      });
    },
  };
}

const KEYS = new Uint32Array([1, 0, 2, 0]);

it("knows who has an open ticket, by its request, and whose it is", () => {
  const h = createHarness();
  const { id } = h.open();
  expect(h.ledger.carrierOf("r1", 0)).toEqual({ ticket: id, relay: undefined });
  const relay = { agent: "relay-0", epoch: "e1" };
  h.ledger.opened(id, 0, 0, { relay, requestId: "r1", tenant: "acme", model: "m" });
  expect(h.ledger.carrierOf("r1", 0)).toEqual({ ticket: id, relay });
  expect(h.ledger.carrierOf("r1", 1)).toBeUndefined();
  expect([h.ledger.requestOf(id, 0), h.ledger.requestOf(id, 1)]).toEqual(["r1", undefined]);
  h.ledger.closed(id, 0, { ...END_OK, slot: 0 });
  expect(h.ledger.carrierOf("r1", 0)).toBeUndefined();
  expect(h.ledger.requestOf(id, 0)).toBeUndefined();
  const given = h.open();
  h.ledger.release(given.id, "unmetered", 7);
  expect(h.ledger.requestOf(given.id, 0)).toBeUndefined();
});

describe("speed", () => {
  it("is learned from the report of the endpoint that read the prompt", () => {
    const h = createHarness();
    const ticket = h.open(3);
    h.ledger.closed(ticket.id, 0, { ...END_OK, durationMs: 500, slot: 3 });
    expect(h.completed).toEqual([[3, 20, 480, 36]]);
    const other = h.open(3);
    h.ledger.closed(other.id, 0, { ...END_OK, slot: 4 });
    expect(h.completed).toHaveLength(1);
  });

  it("does not count the prompt of a ticket that came back unused, and counts one that was read", () => {
    const h = createHarness();
    h.ledger.abandon(h.open(1).id, 7);
    expect(h.takenBack).toEqual([[1, 70]]);
    h.ledger.closed(h.open(1).id, 0, { ...END_OK, slot: 1 });
    expect(h.takenBack).toHaveLength(1);
  });
});

describe("load", () => {
  it("is charged at the pick and leaves with the relay's report", () => {
    const h = createHarness();
    const ticket = h.open(3);
    expect([h.requests(3), h.tokens(3), h.ledger.openCount]).toEqual([1, 120, 1]);
    h.ledger.opened(ticket.id, 0, 3);
    expect(h.ledger.closed(ticket.id, 0, { ...END_OK, slot: 3 })).toMatchObject({
      tenant: "acme",
      isEstimated: false,
      promptTokens: 100,
      cachedTokens: 64,
      completionTokens: 10,
    });
    expect([h.requests(3), h.tokens(3), h.ledger.size, h.ledger.keyBytes]).toEqual([0, 0, 0, 0]);
    expect(h.released).toEqual(["report"]);
  });

  it("moves to the endpoint the relay tries", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.opened(ticket.id, 0, 5);
    expect([h.requests(0), h.requests(5)]).toEqual([0, 1]);
    expect(h.takenBack).toEqual([[0, 70]]);
    h.ledger.opened(ticket.id, 0, NO_SLOT);
    expect([h.requests(0), h.requests(5)]).toEqual([0, 0]);
  });

  it.for<[ReleasedBy]>([["cancelled"], ["relay-unreachable"], ["unmetered"]])(
    "leaves when the Worker says %s, once",
    ([by]) => {
      const h = createHarness();
      const ticket = h.open(0);
      h.ledger.release(ticket.id, by, 7);
      h.ledger.release(ticket.id, by, 7);
      expect([h.requests(0), h.tokens(0), h.released]).toEqual([0, 0, [by]]);
    },
  );

  it("leaves with the handle, unless a relay has the ticket", () => {
    const h = createHarness();
    const mine = h.open(0);
    const theirs = h.open(1);
    h.ledger.opened(theirs.id, 0, 1);
    h.ledger.abandon(mine.id, 7);
    h.ledger.abandon(theirs.id, 7);
    expect([h.requests(0), h.requests(1), h.released]).toEqual([0, 1, ["handle"]]);
  });

  it("counts for nothing when its handle goes before a relay was heard of it", () => {
    const h = createHarness();
    h.ledger.abandon(h.open(0).id, 7);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()).toEqual([]);
    expect([h.ledger.size, h.requests(0)]).toEqual([0, 0]);
  });

  it("leaves when the relay that has it starts anew, and only then", () => {
    const h = createHarness();
    const relay = { agent: "relay-1", epoch: "a" };
    const subject = { requestId: "r1", tenant: "acme", model: "m", relay };
    const [lost, others, unknown] = [h.open(0), h.open(1), h.open(2)];
    h.ledger.opened(lost.id, 0, 0, subject);
    h.ledger.opened(others.id, 0, 1, { ...subject, relay: { agent: "relay-2", epoch: "a" } });
    h.ledger.opened(unknown.id, 0, 2);
    h.ledger.relayStarted(relay);
    expect(h.released).toEqual([]);
    h.ledger.relayStarted({ agent: "relay-1", epoch: "b" });
    expect([0, 1, 2].map((slot) => h.requests(slot))).toEqual([0, 1, 1]);
    expect(h.released).toEqual(["relay-restarted"]);
    // What it has done is not known; a report may still be on its way.
    expect(h.ledger.closed(lost.id, 0, { ...END_OK, slot: 0 })).toMatchObject({
      promptTokens: 100,
    });
  });

  it("leaves when the relay that put it back starts anew", () => {
    const h = createHarness(TICKET_LIMITS, "later");
    const { id } = createHarness(TICKET_LIMITS, "earlier").open(3);
    const relay = { agent: "relay-1", epoch: "a" };
    h.ledger.opened(id, 0, 3, { requestId: "r1", tenant: "acme", model: "m", relay });
    expect(h.requests(3)).toBe(1);
    h.ledger.relayStarted({ ...relay, epoch: "b" });
    expect([h.requests(3), h.released]).toEqual([0, ["relay-restarted"]]);
  });

  it("stays when an earlier handle of the same attempt goes", () => {
    const h = createHarness();
    const ticket = h.open(0);
    expect(h.ledger.reopen("r1", 0, 8)?.id).toBe(ticket.id);
    h.ledger.abandon(ticket.id, 7);
    h.ledger.release(ticket.id, "cancelled", 7);
    expect(h.requests(0)).toBe(1);
    h.ledger.abandon(ticket.id, 8);
    expect(h.requests(0)).toBe(0);
    expect(h.ledger.reopen("r1", 0, 9)).toBeUndefined();
  });

  it("leaves after 30 s if no relay took the ticket, after 10 min if one did", () => {
    const h = createHarness();
    const first = h.open(0);
    const second = h.open(1);
    h.ledger.opened(second.id, 0, 1);
    h.advance(TICKET_LIMITS.beforeRelayMs - 1);
    h.ledger.sweep();
    expect(h.requests(0)).toBe(1);
    h.advance(1);
    h.ledger.sweep();
    expect([h.requests(0), h.requests(1)]).toEqual([0, 1]);
    h.advance(TICKET_LIMITS.withRelayMs - TICKET_LIMITS.beforeRelayMs - 1);
    h.ledger.opened(second.id, 0, 1);
    h.advance(TICKET_LIMITS.withRelayMs - 1);
    h.ledger.sweep();
    expect(h.requests(1)).toBe(1);
    h.advance(1);
    h.ledger.sweep();
    expect([h.requests(1), h.released]).toEqual([0, ["expired", "expired"]]);
    expect(first.id).not.toBe(second.id);
  });

  it("is not taken from an endpoint that was given a removed one's slot", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.endpointRemoved(0);
    h.forgetLoad(0);
    h.open(0);
    h.ledger.release(ticket.id, "cancelled", 7);
    expect(h.requests(0)).toBe(1);
  });
});

describe("settlement", () => {
  it("is an estimate 60 s after a release without a report", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.opened(ticket.id, 0, 0);
    h.ledger.release(ticket.id, "cancelled", 7);
    h.advance(TICKET_LIMITS.settleMs - 1);
    expect(h.ledger.sweep()).toEqual([]);
    h.advance(1);
    expect(h.ledger.sweep()).toMatchObject([
      { isEstimated: true, promptTokens: 100, completionTokens: 50 },
    ]);
    expect(h.ledger.size).toBe(0);
  });

  it("is the report's if that comes within 60 s", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.opened(ticket.id, 0, 0);
    h.ledger.release(ticket.id, "cancelled", 7);
    h.advance(TICKET_LIMITS.settleMs - 1);
    expect(h.ledger.closed(ticket.id, 0, { ...END_OK, slot: 0 })?.isEstimated).toBe(false);
    expect(h.released).toEqual(["cancelled"]);
    h.advance(1);
    expect(h.ledger.sweep()).toEqual([]);
  });

  it.each(["hedge-lost", "relay-unreachable"] as const)(
    "is unpaid where another attempt answers, %s, whether reported or estimated, before or after",
    (by) => {
      const h = createHarness();
      const [reported, silent, early] = [h.open(0), h.open(0), h.open(0)];
      for (const { id } of [reported, silent]) h.ledger.opened(id, 0, 0);
      for (const { id } of [reported, silent, early]) h.ledger.release(id, by, 7);
      h.ledger.opened(early.id, 0, 0);
      for (const { id } of [reported, early]) {
        expect(h.ledger.closed(id, 0, { ...END_OK, slot: 0 })).toMatchObject({ isUnpaid: true });
      }
      h.advance(TICKET_LIMITS.settleMs);
      expect(h.ledger.sweep()).toMatchObject([{ ticket: silent.id, isUnpaid: true }]);
      expect(h.requests(0)).toBe(0);
    },
  );

  it("is nothing for what never reached a relay", () => {
    const h = createHarness({ ...TICKET_LIMITS, ticketsMax: 2 });
    h.ledger.release(h.open(0).id, "relay-unreachable", 7);
    h.ledger.release(h.open(0).id, "cancelled", 7);
    expect(h.ledger.makeRoom()).toEqual({ hasRoom: true, settlement: undefined });
    expect(h.ledger.size).toBe(1);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()).toEqual([]);
    expect([h.ledger.size, h.ledger.keyBytes]).toEqual([0, 0]);
  });

  it("is the relay's if one had the ticket when the Worker gave it back", () => {
    const h = createHarness();
    const [reported, silent] = [h.open(0), h.open(0)];
    for (const { id } of [reported, silent]) {
      h.ledger.release(id, "cancelled", 7);
      h.ledger.opened(id, 0, 0);
    }
    expect(h.requests(0)).toBe(0);
    expect(h.ledger.closed(reported.id, 0, { ...END_OK, slot: 0 })?.isEstimated).toBe(false);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()).toMatchObject([{ ticket: silent.id, isEstimated: true }]);
  });

  it("ignores a report of another attempt", () => {
    const h = createHarness();
    const ticket = h.open(0);
    expect(h.ledger.closed(ticket.id, 1, { ...END_OK, slot: 0 })).toBeUndefined();
    expect(h.requests(0)).toBe(1);
  });
});

describe("tickets of an earlier life", () => {
  const SUBJECT = { requestId: "r1", tenant: "acme", model: "m" };
  /** The ledger that follows another one, and a ticket of that one. */
  function afterLoss(limits: TicketLimits = TICKET_LIMITS) {
    const before = createHarness(TICKET_LIMITS, "e0");
    return { id: before.open(0).id, h: createHarness(limits, "e1") };
  }

  it("come back with what the relay and their name tell, and are settled by the report", () => {
    const { id, h } = afterLoss();
    h.ledger.opened(id, 0, 3, SUBJECT);
    expect([h.requests(3), h.tokens(3), h.ledger.openCount]).toEqual([1, 120, 1]);
    h.ledger.opened(id, 0, 4, SUBJECT);
    expect([h.requests(3), h.requests(4)]).toEqual([0, 1]);
    expect(h.ledger.closed(id, 0, { ...END_OK, slot: 4 }, SUBJECT)).toMatchObject({
      ...SUBJECT,
      ticket: id,
      isEstimated: false,
      mayBeReported: true,
      completionTokens: 10,
    });
    expect([h.requests(4), h.tokens(4), h.ledger.size]).toEqual([0, 0, 0]);
    expect([h.restored, h.released]).toEqual([["opened"], ["report"]]);
  });

  it("are settled by a report that is the first one heard of them", () => {
    const { id, h } = afterLoss();
    const end = { ...END_OK, slot: 0 };
    expect(h.ledger.closed(id, 0, end, SUBJECT)).toMatchObject({ ...SUBJECT, promptTokens: 100 });
    h.settled.add(id);
    expect(h.ledger.closed(id, 0, end, SUBJECT)).toBeUndefined();
    h.ledger.opened(id, 0, 0, SUBJECT);
    expect([h.requests(0), h.ledger.size]).toEqual([0, 0]);
    expect(h.restored).toEqual(["closed", "settled-before", "settled-before"]);
  });

  it("are settled by an estimate from their name if the relay falls silent", () => {
    const { id, h } = afterLoss();
    h.ledger.opened(id, 0, 0, SUBJECT);
    h.advance(TICKET_LIMITS.withRelayMs);
    h.ledger.sweep();
    expect(h.requests(0)).toBe(0);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()).toMatchObject([
      {
        ...SUBJECT,
        isEstimated: true,
        mayBeReported: true,
        promptTokens: 100,
        completionTokens: 50,
      },
    ]);
  });

  it("stay unknown without a subject, with a name of nobody's, or of this life", () => {
    const { id, h } = afterLoss();
    const own = h.open(0);
    h.ledger.closed(own.id, 0, { ...END_OK, slot: 0 });
    for (const [ticket, subject] of [
      [id, undefined],
      ["nobody's", SUBJECT],
      [own.id, SUBJECT],
    ] as const) {
      h.ledger.opened(ticket, 0, 0, subject);
      expect(h.ledger.closed(ticket, 0, { ...END_OK, slot: 0 }, subject)).toBeUndefined();
    }
    expect([h.ledger.size, h.requests(0), h.restored]).toEqual([0, 0, []]);
  });

  it("are not taken for a pick of the same request in this life", () => {
    const { id, h } = afterLoss();
    h.ledger.opened(id, 0, 0, SUBJECT);
    expect(h.ledger.reopen("r1", 0, 8)).toBeUndefined();
    const own = h.open(0);
    h.ledger.closed(id, 0, { ...END_OK, slot: 0 }, SUBJECT);
    expect(h.ledger.reopen("r1", 0, 8)?.id).toBe(own.id);
  });

  it("are left out when the ledger is full, unless an unsettled one makes room", () => {
    const { id, h } = afterLoss({ ...TICKET_LIMITS, ticketsMax: 1 });
    const own = h.open(0);
    expect(h.ledger.opened(id, 0, 1, SUBJECT)).toBeUndefined();
    expect([h.ledger.size, h.requests(1)]).toEqual([1, 0]);
    h.ledger.release(own.id, "unmetered", 7);
    expect(h.ledger.opened(id, 0, 1, SUBJECT)).toMatchObject({ ticket: own.id, isEstimated: true });
    expect([h.ledger.size, h.requests(1), h.restored]).toEqual([1, 1, ["no-room", "opened"]]);
  });
});

describe("what may be reported in a later life", () => {
  it.for([
    ["an estimate after a relay fell silent", "cancelled", true, true],
    ["an estimate of what no relay was given", "unmetered", false, false],
  ] as const)("%s", ([, by, isOpened, mayBeReported]) => {
    const h = createHarness();
    const { id } = h.open(0);
    if (isOpened) h.ledger.opened(id, 0, 0);
    h.ledger.release(id, by, 7);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()[0]?.mayBeReported).toBe(mayBeReported);
  });

  it("not a ticket of this life that was reported", () => {
    const h = createHarness();
    const settlement = h.ledger.closed(h.open(0).id, 0, { ...END_OK, slot: 0 });
    expect(settlement?.mayBeReported).toBe(false);
  });
});

describe("learning", () => {
  it("begins when the relay tries the endpoint, not at the pick", () => {
    const h = createHarness();
    const ticket = h.open(0);
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(0);
    h.ledger.opened(ticket.id, 0, 0);
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
  });

  it("moves to the endpoint that answered", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.opened(ticket.id, 0, 0);
    h.ledger.closed(ticket.id, 0, { ...END_OK, slot: 4 });
    expect([h.learner.heldBlocks(KEYS, 0), h.learner.heldBlocks(KEYS, 4)]).toEqual([0, 2]);
  });

  it("takes back only the blocks that a failed attempt added", () => {
    const h = createHarness();
    h.learner.learn(KEYS.subarray(0, 2), 0);
    const ticket = h.open(0);
    h.ledger.opened(ticket.id, 0, 0);
    h.ledger.closed(ticket.id, 0, { ...END_OK, isPromptCached: false, slot: 0 });
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(1);
  });

  it("survives another ticket's failure with the same prompt", () => {
    const h = createHarness();
    const [failing, answered] = [h.open(0), h.open(0)];
    h.ledger.opened(failing.id, 0, 0);
    h.ledger.opened(answered.id, 0, 0);
    h.ledger.closed(failing.id, 0, { ...END_OK, isPromptCached: false, slot: 0 });
    h.ledger.closed(answered.id, 0, { ...END_OK, slot: 0 });
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
  });

  it("stays once confirmed, when a ticket that taught the same blocks first fails later", () => {
    const h = createHarness();
    const [failing, answered] = [h.open(0), h.open(0)];
    h.ledger.opened(failing.id, 0, 0);
    h.ledger.opened(answered.id, 0, 0);
    h.ledger.closed(answered.id, 0, { ...END_OK, slot: 0 });
    h.ledger.closed(failing.id, 0, { ...END_OK, isPromptCached: false, slot: 0 });
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
  });

  it("comes from a report even if the load was released before", () => {
    const h = createHarness();
    const ticket = h.open(0);
    h.ledger.abandon(ticket.id, 7);
    h.ledger.closed(ticket.id, 0, { ...END_OK, slot: 0 });
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
  });
});

describe("bounds", () => {
  it("has no room past the maximum of open tickets", () => {
    const h = createHarness({ ...TICKET_LIMITS, ticketsMax: 2 });
    h.open(0);
    expect(h.ledger.makeRoom().hasRoom).toBe(true);
    h.open(0);
    expect(h.ledger.makeRoom()).toEqual({ hasRoom: false, settlement: undefined });
    expect(() => h.open(0)).toThrow("a ticket past the maximum");
  });

  it("settles the oldest released ticket early to make room", () => {
    const h = createHarness({ ...TICKET_LIMITS, ticketsMax: 2 });
    h.ledger.release(h.open(0).id, "unmetered", 7);
    h.open(0);
    expect(h.ledger.makeRoom()).toMatchObject({
      hasRoom: true,
      settlement: { isEstimated: true },
    });
    expect(h.ledger.size).toBe(1);
  });

  it("keeps no keys past their bytes, and goes on", () => {
    const h = createHarness({ ...TICKET_LIMITS, keyBytesMax: 16 });
    const [first, second] = [h.open(0), h.open(1)];
    expect(h.ledger.keyBytes).toBe(16);
    h.ledger.closed(second.id, 0, { ...END_OK, slot: 1 });
    expect(h.learner.heldBlocks(KEYS, 1)).toBe(0);
    h.ledger.closed(first.id, 0, { ...END_OK, slot: 0 });
    expect([h.learner.heldBlocks(KEYS, 0), h.ledger.keyBytes]).toEqual([2, 0]);
  });
});

describe("any order of events", () => {
  const step = fc.record({
    act: fc.constantFrom("open", "opened", "closed", "release", "abandon", "advance", "remove"),
    ticket: fc.nat(9),
    slot: fc.integer({ min: -1, max: 3 }),
    ms: fc.constantFrom(1, 1_000, 29_999, 60_000, 600_000),
  });

  it("leaks no load, settles once a ticket, and comes to rest", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const h = createHarness();
        const ids: string[] = [];
        const settledIds: string[] = [];
        const settled = (settlements: (Settlement | undefined)[]) => {
          for (const settlement of settlements)
            if (settlement !== undefined) settledIds.push(settlement.ticket);
        };
        // Given back before a relay was heard of them, they may count for nothing.
        const abandoned = new Set<string>();
        for (const { act, ticket, slot, ms } of steps) {
          const id = ids[ticket % Math.max(1, ids.length)] ?? "none";
          if (act === "open") ids.push(h.open(slot, new Uint32Array([ticket, 0])).id);
          if (act === "opened") h.ledger.opened(id, 0, slot);
          if (act === "closed") settled([h.ledger.closed(id, 0, { ...END_OK, slot })]);
          if (act === "release") h.ledger.release(id, "unmetered", 7);
          if (act === "abandon") {
            h.ledger.abandon(id, 7);
            abandoned.add(id);
          }
          if (act === "advance") {
            h.advance(ms);
            settled(h.ledger.sweep());
          }
          if (act === "remove" && slot !== NO_SLOT) {
            h.ledger.endpointRemoved(slot);
            h.forgetLoad(slot);
          }
          const charged = [0, 1, 2, 3].reduce((sum, s) => sum + h.requests(s), 0);
          expect(charged).toBeLessThanOrEqual(h.ledger.openCount);
          for (const s of [0, 1, 2, 3]) expect(h.tokens(s)).toBe(h.requests(s) * 120);
        }
        for (let i = 0; i < 3; i++) {
          h.advance(TICKET_LIMITS.withRelayMs);
          settled(h.ledger.sweep());
        }
        expect([h.ledger.size, h.ledger.keyBytes]).toEqual([0, 0]);
        expect(new Set(settledIds).size).toBe(settledIds.length);
        expect(ids.filter((id) => !abandoned.has(id) && !settledIds.includes(id))).toEqual([]);
        for (const s of [0, 1, 2, 3]) expect([h.requests(s), h.tokens(s)]).toEqual([0, 0]);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a ticket that its Worker carries", () => {
  const open = () => {
    const h = createHarness();
    return { h, ...h.open(0, KEYS, 7, true) };
  };
  const END = { ...END_OK, slot: 0 };
  const UNKNOWN = { ...END, promptTokens: null, completionTokens: null };

  it("has the long lease, and teaches at once what its endpoint will have", () => {
    const { h } = open();
    h.advance(TICKET_LIMITS.beforeRelayMs);
    h.ledger.sweep();
    expect(h.requests(0)).toBe(1);
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
    h.advance(TICKET_LIMITS.withRelayMs);
    h.ledger.sweep();
    expect(h.released).toEqual(["expired"]);
  });

  it("is settled by its Worker's word, once, and by no other's", () => {
    const { h, id } = open();
    expect(h.ledger.settle(id, END, 8)).toBeUndefined();
    expect(h.ledger.settle(id, END, 7)).toMatchObject({ isEstimated: false, promptTokens: 100 });
    expect(h.ledger.settle(id, END, 7)).toBeUndefined();
    expect([h.requests(0), h.ledger.size]).toEqual([0, 0]);
  });

  it("is estimated where its Worker does not know the usage", () => {
    const { h, id } = open();
    expect(h.ledger.settle(id, UNKNOWN, 7)).toBeUndefined();
    expect(h.released).toEqual(["unmetered"]);
    h.advance(TICKET_LIMITS.settleMs);
    expect(h.ledger.sweep()).toMatchObject([{ isEstimated: true, mayBeReported: false }]);
    expect(h.learner.heldBlocks(KEYS, 0)).toBe(2);
  });

  it.each(["refused", "relay-unreachable", "cancelled"] as const)(
    "counts as nothing where it was %s, and teaches nothing",
    (how) => {
      const { h, id } = open();
      h.ledger.release(id, how, 7);
      expect(h.learner.heldBlocks(KEYS, 0)).toBe(0);
      expect(h.ledger.settle(id, UNKNOWN, 7)).toBeUndefined();
      h.advance(TICKET_LIMITS.settleMs);
      expect(h.ledger.sweep()).toEqual([]);
    },
  );

  it("ends with its handle", () => {
    const { h, id } = open();
    h.ledger.abandon(id, 8);
    expect(h.requests(0)).toBe(1);
    h.ledger.abandon(id, 7);
    expect([h.requests(0), h.learner.heldBlocks(KEYS, 0)]).toEqual([0, 0]);
  });
});
