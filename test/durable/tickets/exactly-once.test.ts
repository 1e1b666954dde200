// Any history of picks, reports, losses and restarts: load comes to rest, and nothing counts twice.

import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TICKET_LIMITS } from "../../../src/durable/tickets/ledger-options.ts";
import { type GrantedTicket, ObjectModel, RelayModel } from "./ledger-model.ts";

/** Longer than reports gather in an outbox, and than it waits when the session is down. */
const FLUSH_MS = 1_000;

/** By how often each happens: without a session that works, little else could go wrong. */
const ACTS = {
  pick: 6,
  tries: 8,
  ends: 6,
  "give-back": 2,
  flush: 5,
  deliver: 6,
  answer: 4,
  exchange: 4,
  tick: 4,
  renew: 1,
  connect: 2,
  lose: 1,
  time: 1,
  "object-dies": 2,
  "object-dies-unread": 2,
  "relay-dies": 1,
} as const;
type Act = keyof typeof ACTS;

const step = fc.record({
  act: fc.oneof(
    ...Object.entries(ACTS).map(([act, weight]) => ({
      weight,
      arbitrary: fc.constant(act as Act),
    })),
  ),
  relay: fc.nat(1),
  ticket: fc.nat(4),
  slot: fc.nat(2),
  how: fc.constantFrom("cancelled", "relay-unreachable", "abandon"),
  ms: fc.constantFrom(1, 30_000, 60_000, 600_000),
  losesSockets: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/**
 * A welcome that crosses reports makes the relay say them twice; the object counts the first copy,
 * writes it, and is gone before the second one comes. Only the reports' numbers tell.
 */
const SAID_TWICE: readonly Step[] = (
  [
    ...(["object-dies", "pick", "tries", "ends", "flush", "answer", "flush"] as const),
    ...(["deliver", "object-dies-unread", "deliver"] as const),
  ] satisfies Act[]
).map((act) => ({
  act,
  relay: 0,
  ticket: 0,
  slot: 0,
  how: "cancelled",
  ms: 1,
  losesSockets: false,
}));

class World {
  readonly object: ObjectModel;
  readonly relays = [new RelayModel("r0"), new RelayModel("r1")];
  /** The object lost tickets that no relay could tell it of, or might have. */
  hasObjectDied = false;

  constructor(ticketsMax: number) {
    this.object = new ObjectModel(ticketsMax);
    this.settleDown();
  }

  run({ act, slot, how, ms, losesSockets, ...which }: Step): void {
    const { object } = this;
    const relay = this.relays[which.relay]!;
    const ticket = object.tickets.at(-1 - which.ticket);
    const { link } = relay;
    if (act === "pick") object.pick(slot);
    if (act === "tries" && ticket !== undefined) relay.tries(ticket, slot);
    if (act === "ends" && ticket !== undefined) (ticket.relay ?? relay).ends(ticket, slot);
    if (act === "give-back" && ticket !== undefined) object.giveBack(ticket, how);
    if (act === "flush") vi.advanceTimersByTime(FLUSH_MS);
    if (act === "deliver" && link !== undefined) object.receive(link);
    if (act === "answer") this.#answer(relay);
    if (act === "exchange") this.#exchange(relay);
    if (act === "tick") object.tick();
    if (act === "renew") relay.outbox.renew();
    if (act === "connect") object.connect(relay);
    if (act === "lose" && link !== undefined) object.drop(link);
    if (act === "time") object.sweep(ms);
    if (act === "object-dies") object.restart(losesSockets);
    if (act === "object-dies-unread") object.tickAndDie(losesSockets);
    if (act === "relay-dies") {
      if (link !== undefined) object.drop(link);
      relay.restart();
    }
    this.hasObjectDied ||= act.startsWith("object-dies");
  }

  /** Connects every relay and lets everything that is under way arrive. */
  settleDown(): void {
    for (const relay of this.relays) this.object.connect(relay);
    for (let round = 0; round < 6; round++) {
      for (const relay of this.relays) this.#exchange(relay);
      this.object.tick();
    }
  }

  /** What is wrong with the ledger now: each of its tickets is charged, and released, once. */
  problems(): string[] {
    const { ledger, load, releasedCount, enteredCount, tickets } = this.object;
    const tokens = [...load.values()].reduce((sum, count) => sum + count, 0);
    const twice = tickets.filter((ticket) => this.object.count(ticket) > 1);
    return [
      ...(tokens === 120 * ledger.openCount ? [] : [`${tokens} for ${ledger.openCount} tickets`]),
      ...(enteredCount - releasedCount === ledger.openCount ? [] : ["released twice"]),
      ...twice.map(({ id }) => `${id} counts twice`),
    ];
  }

  /** Everything that a relay which lives carries, of an earlier life, is in the ledger again. */
  get isRebuilt(): boolean {
    const carried = this.relays
      .flatMap((relay) => [...relay.open])
      .filter((ticket) => ticket.life !== this.object.life && this.object.count(ticket) === 0);
    return this.object.ledger.size >= carried.length;
  }

  /** Tickets that count for nothing, though a relay reported them or the object never died. */
  lost(): GrantedTicket[] {
    return this.object.tickets.filter((ticket) => {
      const isKnown = ticket.isReported && !ticket.isLostByRelay;
      // What its Worker took back before a relay was heard of it may be forgotten.
      if (ticket.isGivenBack || (this.hasObjectDied && !isKnown)) return false;
      return this.object.count(ticket) === 0;
    });
  }

  #exchange(relay: RelayModel): void {
    vi.advanceTimersByTime(FLUSH_MS);
    const { link } = relay;
    while (link !== undefined && link.toObject.length + link.toRelay.length > 0) {
      while (link.toObject.length > 0) this.object.receive(link);
      while (link.toRelay.length > 0) this.#answer(relay);
      vi.advanceTimersByTime(FLUSH_MS);
    }
  }

  #answer(relay: RelayModel): void {
    const message = relay.link?.toRelay.shift();
    if (message !== undefined) relay.receive(message);
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it.for([
  ["with room for all", 1_000],
  ["in a full ledger", 5],
] as const)(
  "leaks no load and counts no ticket twice, %s",
  { timeout: 60_000 },
  ([, ticketsMax]) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 100, size: "max" }), (steps) => {
        const world = new World(ticketsMax);
        for (const one of steps) {
          world.run(one);
          expect(world.problems()).toEqual([]);
        }
        world.settleDown();
        // A full ledger has no place for all; their reports settle them nevertheless.
        expect(world.isRebuilt || ticketsMax < steps.length).toBe(true);
        for (const relay of world.relays) {
          for (const ticket of relay.open) relay.ends(ticket, 1);
        }
        world.settleDown();
        expect(world.relays.map((relay) => relay.outbox.size)).toEqual([0, 0]);
        for (let i = 0; i < 2; i++) world.object.sweep(TICKET_LIMITS.withRelayMs);
        world.object.tick();
        expect(world.problems()).toEqual([]);
        expect(world.lost()).toEqual([]);
        expect(world.object.ledger.size).toBe(0);
      }),
      { numRuns: 400, examples: [[[...SAID_TWICE]]] },
    );
  },
);
