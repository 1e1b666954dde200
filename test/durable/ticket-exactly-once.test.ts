// Any history of picks, reports, losses and restarts: load comes to rest, and nothing counts twice.

import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TICKET_LIMITS } from "../../src/durable/ticket-ledger.ts";
import { type GrantedTicket, ObjectModel, RelayModel } from "./ledger-model.ts";

/** Longer than reports gather in an outbox, and than it waits when the session is down. */
const FLUSH_MS = 1_000;

const step = fc.record({
  act: fc.constantFrom(
    ...(["pick", "tries", "tries", "ends", "ends", "give-back", "flush", "flush"] as const),
    ...(["deliver", "deliver", "deliver", "answer", "answer", "tick", "renew"] as const),
    ...(["connect", "lose", "time", "object-dies", "object-dies-unread", "relay-dies"] as const),
  ),
  relay: fc.nat(1),
  ticket: fc.nat(7),
  slot: fc.nat(2),
  how: fc.constantFrom("cancelled", "relay-unreachable", "abandon"),
  ms: fc.constantFrom(1, 30_000, 60_000, 600_000),
  isAlone: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class World {
  readonly object: ObjectModel;
  readonly relays = [new RelayModel("r0"), new RelayModel("r1")];
  /** The object lost tickets that no relay could tell it of, or might have. */
  hasObjectDied = false;

  constructor(ticketsMax: number) {
    this.object = new ObjectModel(ticketsMax);
  }

  run(steps: readonly Step[]): void {
    for (const one of steps) {
      this.#run(one);
      this.#checkLoad();
      for (const ticket of this.object.tickets) {
        expect(this.object.count(ticket), `${ticket.id} counted`).toBeLessThanOrEqual(1);
      }
    }
  }

  #run({ act, slot, how, ms, isAlone, ...which }: Step): void {
    const { object } = this;
    const relay = this.relays[which.relay]!;
    const ticket = object.tickets.at(-1 - which.ticket);
    const { link } = relay;
    if (act === "pick") object.pick(slot);
    if (act === "tries" && ticket !== undefined) relay.tries(ticket, slot);
    if (act === "ends" && ticket !== undefined) relay.ends(ticket, slot);
    if (act === "give-back" && ticket !== undefined) object.giveBack(ticket, how);
    if (act === "flush") vi.advanceTimersByTime(FLUSH_MS);
    if (act === "deliver" && link !== undefined) object.receive(link);
    if (act === "answer") this.#answer(relay);
    if (act === "tick") object.tick(true);
    if (act === "renew") relay.outbox.renew();
    if (act === "connect") object.connect(relay);
    if (act === "lose" && link !== undefined) object.drop(link);
    if (act === "time") object.sweep(ms);
    if (act === "object-dies") object.restart(isAlone);
    if (act === "object-dies-unread") object.tick(false);
    if (act === "relay-dies") {
      if (link !== undefined) object.drop(link);
      relay.restart();
    }
    this.hasObjectDied ||= act.startsWith("object-dies");
  }

  #answer(relay: RelayModel): void {
    const message = relay.link?.toRelay.shift();
    if (message !== undefined) relay.receive(message);
  }

  /** Connects every relay and lets everything that is under way arrive. */
  settleDown(): void {
    for (const relay of this.relays) this.object.connect(relay);
    for (let round = 0; round < 6; round++) {
      vi.advanceTimersByTime(FLUSH_MS);
      for (const { link } of this.relays) {
        while (link!.toObject.length > 0) this.object.receive(link!);
      }
      this.object.tick(true);
      for (const relay of this.relays) {
        while (relay.link!.toRelay.length > 0) this.#answer(relay);
      }
    }
  }

  /** Every ticket in the ledger is charged once, and no ticket is released twice. */
  #checkLoad(): void {
    const { ledger, load, releasedCount, enteredCount } = this.object;
    const tokens = [...load.values()].reduce((sum, count) => sum + count, 0);
    expect(tokens).toBe(120 * ledger.openCount);
    expect(enteredCount - releasedCount).toBe(ledger.openCount);
  }
}

/** Everything that a relay which lives carries, of an earlier life, is in the ledger again. */
function checkRebuilt({ object, relays }: World): void {
  const carried = relays
    .flatMap((relay) => [...relay.open])
    .filter((ticket) => ticket.life !== object.life && object.count(ticket) === 0);
  expect(object.ledger.size).toBeGreaterThanOrEqual(carried.length);
}

/** 1, unless the ticket was lost with everybody who knew of it, or its Worker took it back. */
function checkCounted(ticket: GrantedTicket, world: World): void {
  const count = world.object.count(ticket);
  expect(count, `${ticket.id} counted`).toBeLessThanOrEqual(1);
  const isKnown = ticket.isReported && !ticket.isLostByRelay;
  if (!ticket.isGivenBack && (isKnown || !world.hasObjectDied)) {
    expect(count, `${ticket.id} counted`).toBe(1);
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
] as const)("leaks no load and counts no ticket twice, %s", ([, ticketsMax]) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
      const world = new World(ticketsMax);
      world.run(steps);
      world.settleDown();
      if (ticketsMax > steps.length) checkRebuilt(world);
      for (const relay of world.relays) {
        for (const ticket of relay.open) relay.ends(ticket, 1);
      }
      world.settleDown();
      for (const relay of world.relays) expect(relay.outbox.size).toBe(0);
      for (let i = 0; i < 2; i++) world.object.sweep(TICKET_LIMITS.withRelayMs);
      world.object.tick(true);
      expect(world.object.ledger.size).toBe(0);
      for (const [slot, tokens] of world.object.load) expect([slot, tokens]).toEqual([slot, 0]);
      for (const ticket of world.object.tickets) checkCounted(ticket, world);
    }),
    { numRuns: 500 },
  );
});
