import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EDGE_EPOCH_PREFIX, encodeTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import { ENDED_TICKETS_MAX, EndedTickets } from "../../../src/durable/tickets/ended.ts";
import { TICKET_LIMITS, type TicketLimits } from "../../../src/durable/tickets/ledger-options.ts";
import { TicketLedger } from "../../../src/durable/tickets/ledger.ts";
import type { SpeedObservation } from "../../../src/scheduler/model/engine-speeds.ts";
import { NO_SLOT, type Settlement } from "../../../src/durable/tickets/ticket.ts";

const OUTPUT = 50;

/** Isolates, relays and what a ledger with lives does with what they say, against a naive account. */
class World {
  nowMs = 1_000_000;
  life = 0;
  /** By ticket: how often its load is charged now. */
  charged = new Map<number, number>();
  readonly #slots = new Map<number, number>();
  readonly learned: [number, number][] = [];
  readonly speeds: ({ slot: number } & SpeedObservation)[] = [];
  dispatches = 0;
  /** By ticket: its settlements in all lives. */
  readonly forgotten: [key: number, slot: number][] = [];
  readonly settlements = new Map<string, Settlement[]>();
  readonly settledBefore = new Set<string>();
  ledger: TicketLedger;

  constructor(limits: TicketLimits = TICKET_LIMITS) {
    this.ledger = this.#begin(limits);
  }

  restart(): void {
    this.life += 1;
    this.charged = new Map();
    this.ledger = this.#begin(TICKET_LIMITS);
  }

  commit(n: number, { slot = 1, agoMs = 100, isWorkers = false } = {}) {
    const { tokens, id } = ticket(n);
    const committed = this.ledger.local.commit({
      id,
      requestId: `r${n}`,
      attempt: 0,
      tenant: "acme",
      model: "m",
      priority: 0,
      keys: Uint32Array.of(n, n),
      promptTokens: tokens,
      outputTokens: OUTPUT,
      reservedTokens: tokens,
      slot,
      endpoints: [`10.0.0.${slot}:8000`],
      decidedAgoMs: agoMs,
      isWorkers,
    });
    this.settled(committed.settlement);
    return committed;
  }

  opened(n: number, slot = 1): void {
    const told = { requestId: `r${n}`, tenant: "acme", model: "m", relay: RELAY };
    this.settled(this.ledger.opened(ticket(n).id, 0, slot, told));
  }

  closed(n: number, slot = 1, isPromptCached = true): Settlement | undefined {
    const told = { requestId: `r${n}`, tenant: "acme", model: "m" };
    const settlement = this.ledger.closed(ticket(n).id, 0, end(slot, isPromptCached), told);
    this.settled(settlement);
    return settlement;
  }

  ended(n: number, how: "left" | "cancelled" | "relay-unreachable"): void {
    this.ledger.endLocal(ticket(n).id, 0, how);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const settlement of this.ledger.sweep()) this.settled(settlement);
  }

  settled(settlement: Settlement | undefined): void {
    if (settlement === undefined) return;
    const before = this.settlements.get(settlement.ticket) ?? [];
    this.settlements.set(settlement.ticket, [...before, settlement]);
    if (settlement.mayBeReported) this.settledBefore.add(settlement.ticket);
  }

  settlementsOf(n: number): readonly Settlement[] {
    return this.settlements.get(ticket(n).id) ?? [];
  }

  chargedFor(n: number): number {
    return this.charged.get(ticket(n).tokens) ?? 0;
  }

  /** It takes its load along. */
  removed(slot: number): void {
    this.ledger.endpointRemoved(slot);
    for (const [tokens, of] of this.#slots) if (of === slot) this.charged.set(tokens, 0);
  }

  #begin(limits: TicketLimits): TicketLedger {
    const charge = (tokens: number, by: number) =>
      void this.charged.set(tokens, (this.charged.get(tokens) ?? 0) + by);
    const dispatched = (slot: number, tokens: number, atMs: number) => {
      charge(tokens, 1);
      this.#slots.set(tokens, slot);
      this.dispatches += 1;
      return { atMs, aheadTokens: 0, isHeld: false };
    };
    return new TicketLedger({
      epoch: `${this.life}abc`,
      clock: () => this.nowMs,
      limits,
      load: {
        dispatched,
        dispatchedBefore: dispatched,
        released: (_, tokens) => charge(tokens, -1),
        takenBack: () => undefined,
        promptAdded: () => undefined,
        handedOver: () => undefined,
        completed: (slot, observation) => void this.speeds.push({ slot, ...observation }),
      },
      learner: {
        learn: (keys, slot) => {
          this.learned.push([keys[0]!, slot]);
          return 0;
        },
        forget: (keys, _, slot) => void this.forgotten.push([keys[0]!, slot]),
      },
      isSettled: (id) => this.settledBefore.has(id),
    });
  }
}

const RELAY = { agent: "relay-1", epoch: "e1" };

/** Its tokens are its own: the load tells whose it is. */
function ticket(n: number): { readonly id: string; readonly tokens: number } {
  const tokens = 1_000 + n;
  const facts = { promptTokens: tokens, outputTokens: OUTPUT, reservedTokens: tokens, priority: 0 };
  return { id: encodeTicketName(`${EDGE_EPOCH_PREFIX}77`, n, facts), tokens };
}

function end(slot: number, isPromptCached: boolean) {
  const usage = { promptTokens: 900, cachedTokens: 0, completionTokens: 10 };
  return { slot, isPromptCached, ttftMs: isPromptCached ? 20 : null, ...usage };
}

describe("a commit", () => {
  it("charges its endpoint, and its relay's report ends it", () => {
    const world = new World();
    expect(world.commit(1).outcome).toBe("opened");
    expect(world.chargedFor(1)).toBe(1);
    world.opened(1);
    world.closed(1);
    expect(world.chargedFor(1)).toBe(0);
    expect(world.settlementsOf(1)).toMatchObject([{ isEstimated: false, mayBeReported: false }]);
  });

  it("teaches where its prompt is until nobody has it", () => {
    const world = new World();
    for (const n of [1, 2, 3]) world.commit(n);
    expect(world.learned).toEqual([1, 2, 3].map((n) => [n, 1]));
    world.ended(1, "relay-unreachable");
    expect(world.forgotten).toEqual([[1, 1]]);
    world.opened(2);
    world.pass(TICKET_LIMITS.beforeRelayMs);
    expect(world.forgotten).toEqual([1, 3].map((n) => [n, 1]));
  });

  it("is known when it is told again, before its end and after", () => {
    const world = new World();
    world.commit(1);
    expect(world.commit(1).outcome).toBe("known");
    world.closed(1);
    expect(world.commit(1).outcome).toBe("ended");
    expect(world.chargedFor(1)).toBe(0);
  });

  it("completes a ticket that its relay has reported before, and charges nothing again", () => {
    const world = new World();
    world.opened(1);
    expect(world.chargedFor(1)).toBe(1);
    expect(world.learned).toEqual([]);
    expect(world.commit(1).outcome).toBe("completed");
    expect(world.chargedFor(1)).toBe(1);
    expect(world.learned).toEqual([[1, 1]]);
    expect(world.ledger.reopen("r1", 0, 5)?.endpoints).toEqual(["10.0.0.1:8000"]);
  });

  it("of a request that has ended teaches who has the prompt, once", () => {
    const world = new World();
    world.closed(1, 3);
    expect(world.commit(1)).toMatchObject({ outcome: "ended", end: { slot: 3 } });
    expect(world.commit(1)).toEqual({ outcome: "ended" });
    expect(world.learned).toEqual([[1, 3]]);
    expect(world.ledger.size).toBe(0);
  });

  it("of a request that has ended is a dispatch, and teaches how fast its endpoint is", () => {
    const orders = [
      ["commit", "closed"],
      ["closed", "commit", "commit"],
    ];
    const [inOrder, endFirst] = orders.map((order) => {
      const world = new World();
      for (const what of order) {
        if (what === "commit") world.commit(1);
        else world.closed(1);
      }
      expect([world.chargedFor(1), world.ledger.keyBytes]).toEqual([0, 0]);
      return world;
    });
    expect(inOrder!.speeds).toMatchObject([{ slot: 1, ttftMs: 20, workTokens: 900 }]);
    expect(endFirst!.speeds).toEqual(inOrder!.speeds);
    expect([endFirst!.dispatches, inOrder!.dispatches]).toEqual([1, 1]);
  });

  it("of a request that its relay had told of before it ended is no second dispatch", () => {
    const world = new World();
    world.opened(1);
    world.closed(1);
    expect(world.commit(1)).toMatchObject({ outcome: "ended", end: { slot: 1 } });
    expect(world.dispatches).toBe(1);
  });

  it("of a request that has ended elsewhere than was decided charges nobody", () => {
    const world = new World();
    world.closed(1, 3);
    world.commit(1);
    expect([world.dispatches, world.speeds]).toEqual([0, []]);
  });

  it("of a request that has ended at an endpoint that left since teaches nothing", () => {
    const world = new World();
    world.closed(1, 3);
    world.ledger.endpointRemoved(3);
    expect(world.commit(1).end?.slot).toBe(NO_SLOT);
    expect(world.learned).toEqual([]);
  });

  it("opens nothing when its Worker has given it up before", () => {
    const world = new World();
    world.ended(1, "cancelled");
    expect(world.commit(1).outcome).toBe("ended");
    world.opened(1);
    expect(world.chargedFor(1)).toBe(1);
    world.closed(1);
    expect(world.settlementsOf(1)).toHaveLength(1);
  });

  it("opens what a relay may have, though nobody there is left to say so", () => {
    const world = new World();
    world.ended(1, "left");
    expect(world.commit(1).outcome).toBe("opened");
    world.ended(2, "left");
    // Its Worker would carry it, and has gone.
    expect(world.commit(2, { isWorkers: true }).outcome).toBe("ended");
  });

  it("that is as old as a lease opens nothing", () => {
    const world = new World();
    expect(world.commit(1, { agoMs: TICKET_LIMITS.beforeRelayMs }).outcome).toBe("late");
    expect(world.ledger.size).toBe(0);
  });

  it("is not settled by an estimate where no relay was heard of, and still by a report", () => {
    const world = new World();
    world.commit(1);
    world.pass(TICKET_LIMITS.beforeRelayMs);
    expect(world.chargedFor(1)).toBe(0);
    expect(world.ledger.size).toBe(0);
    expect(world.settlementsOf(1)).toEqual([]);
    world.closed(1);
    expect(world.settlementsOf(1)).toHaveLength(1);
  });

  it("of what its Worker carries is charged until it ends, and settled by an estimate", () => {
    const world = new World();
    world.commit(1, { isWorkers: true });
    world.pass(TICKET_LIMITS.beforeRelayMs);
    expect(world.chargedFor(1)).toBe(1);
    expect(world.learned).toEqual([[1, 1]]);
    world.ledger.endLocal(ticket(1).id, 0, "unmetered");
    world.pass(TICKET_LIMITS.settleMs);
    expect(world.settlementsOf(1)).toMatchObject([{ isEstimated: true }]);
  });

  it("finds no room in a ledger that is full of open tickets", () => {
    const world = new World({ ...TICKET_LIMITS, ticketsMax: 1 });
    world.commit(1);
    expect(world.commit(2).outcome).toBe("no-room");
    world.ended(1, "relay-unreachable");
    expect(world.commit(2).outcome).toBe("opened");
  });
});

describe("an end that an isolate tells", () => {
  it("leaves to relays what one may have, and releases what its Worker has given up", () => {
    const world = new World();
    for (const n of [1, 2, 3]) world.commit(n);
    world.commit(4, { isWorkers: true });
    world.opened(2);
    for (const n of [1, 2, 4]) world.ended(n, "left");
    world.ended(3, "relay-unreachable");
    expect([1, 2, 3, 4].map((n) => world.chargedFor(n))).toEqual([1, 1, 0, 0]);
    world.ended(2, "cancelled");
    expect(world.chargedFor(2)).toBe(0);
    world.pass(TICKET_LIMITS.afterLeftMs - 1);
    // Told again it is no later.
    world.ended(1, "left");
    expect(world.chargedFor(1)).toBe(1);
    world.pass(1);
    expect(world.chargedFor(1)).toBe(0);
    expect(world.settlementsOf(1)).toEqual([]);
  });

  it("of a client that has left leaves it to a relay that may not have said yet that it has it", () => {
    const world = new World();
    for (const n of [1, 2]) world.commit(n);
    world.commit(3, { isWorkers: true });
    for (const n of [1, 2, 3]) world.ended(n, "cancelled");
    expect([1, 2, 3].map((n) => world.chargedFor(n))).toEqual([1, 1, 0]);
    world.closed(1);
    world.pass(TICKET_LIMITS.afterLeftMs);
    expect([1, 2].map((n) => world.chargedFor(n))).toEqual([0, 0]);
    expect(world.settlementsOf(1)).toMatchObject([{ isEstimated: false }]);
    expect(world.settlementsOf(2)).toEqual([]);
  });

  it("is not the last word where a relay has it: it is known, counts and teaches as if it had not been told", () => {
    const world = new World();
    world.commit(1);
    world.ended(1, "left");
    world.opened(1);
    expect(world.chargedFor(1)).toBe(1);
    expect(world.commit(1).outcome).toBe("known");
    world.closed(1);
    expect(world.chargedFor(1)).toBe(0);
    expect(world.settlementsOf(1)).toMatchObject([{ isEstimated: false }]);
    expect(world.learned).toContainEqual([1, 1]);
    expect(world.commit(1)).toEqual({ outcome: "ended" });
  });

  it("is not told by a handle that an object has given out for it since", () => {
    const world = new World();
    world.commit(1);
    world.ledger.reopen("r1", 0, 5);
    world.ledger.abandon(ticket(1).id, 5);
    expect(world.chargedFor(1)).toBe(1);
  });

  it("of a commit that was told, and forgotten with its lease, makes no news of it again", () => {
    const world = new World();
    for (const n of [1, 2]) world.commit(n);
    world.pass(TICKET_LIMITS.beforeRelayMs);
    world.opened(1);
    expect(world.commit(1).outcome).toBe("known");
    for (const n of [1, 2]) {
      world.closed(n);
      expect(world.commit(n)).toEqual({ outcome: "ended" });
      expect(world.settlementsOf(n)).toHaveLength(1);
    }
  });

  it("ends no ticket of an object's", () => {
    const world = new World();
    const spec = { requestId: "r9", attempt: 0, tenant: "t", model: "m", priority: 0 };
    const tokens = { promptTokens: 9, outputTokens: 1, reservedTokens: 9 };
    const placed = { keys: new Uint32Array(0), slot: 1, endpoints: [], holder: 1 };
    const { id } = world.ledger.open({ ...spec, ...tokens, ...placed });
    world.ledger.endLocal(id, 0, "cancelled");
    expect(world.ledger.openCount).toBe(1);
  });
});

describe("EndedTickets", () => {
  it("forgets the oldest past its maximum", () => {
    const ended = new EndedTickets();
    for (let n = 0; n <= ENDED_TICKETS_MAX; n++) ended.left(`i-${n}`, "gone");
    expect(ended.has("i-0")).toBe(false);
    expect(ended.has(`i-${ENDED_TICKETS_MAX}`)).toBe(true);
  });

  it("keeps what is closed so, whatever else is said", () => {
    const ended = new EndedTickets();
    ended.closed("i-1", end(1, true), { isCommitted: true });
    ended.left("i-1", "left");
    expect(ended.isClosed("i-1")).toBe(true);
  });
});

const event = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      what: fc.constantFrom("commit", "opened", "closed", "left", "cancelled"),
      n: fc.nat(4),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant("pass"),
      n: fc.constantFrom(50, 20_000, 61_000, 700_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("restart"), n: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("removed"), n: fc.constantFrom(1, 2) }) },
);

describe("any order of events", () => {
  it("charges a ticket at most once, lets its load leave, and settles it at most once", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const world = new World();
        /** Decided on when first heard of; closed in which life. */
        const decidedAtMs = new Map<number, number>();
        const closedIn = new Map<number, number>();
        for (const { what, n } of events) {
          const isClosed = closedIn.has(n);
          // Reports are numbered: an object that has applied one is not told of it again in its next life.
          const isToldAgain = isClosed && closedIn.get(n) !== world.life;
          if (what === "pass") world.pass(n);
          else if (what === "restart") world.restart();
          else if (what === "removed") world.removed(n);
          else {
            if (!decidedAtMs.has(n)) decidedAtMs.set(n, world.nowMs);
            const agoMs = world.nowMs - decidedAtMs.get(n)!;
            if (what === "commit") world.commit(n, { agoMs });
            else if (what === "left" || what === "cancelled") world.ended(n, what);
            else if (what === "opened" && !isToldAgain) world.opened(n, 2);
            else if (what === "closed" && !isToldAgain) {
              world.closed(n, 2);
              if (!isClosed) closedIn.set(n, world.life);
            }
          }
          for (const n of decidedAtMs.keys()) {
            const isOver = closedIn.get(n) === world.life;
            expect(world.chargedFor(n)).toBeLessThanOrEqual(isOver ? 0 : 1);
            expect(world.settlementsOf(n).length).toBeLessThanOrEqual(1);
            expect(world.settlementsOf(n).length >= (closedIn.has(n) ? 1 : 0)).toBe(true);
          }
        }
        world.pass(TICKET_LIMITS.withRelayMs);
        world.pass(TICKET_LIMITS.settleMs);
        expect(world.ledger.size).toBe(0);
        expect(world.ledger.keyBytes).toBe(0);
        for (const n of decidedAtMs.keys()) expect(world.settlementsOf(n).length).toBeLessThan(2);
      }),
      { numRuns: 2_000 },
    );
  });
});
