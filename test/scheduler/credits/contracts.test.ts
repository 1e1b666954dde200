// What must hold of credits whatever happens to messages, processes and clocks.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClockError, TTL_MS, World } from "./world.ts";

const HOLDERS = 4;

const clock: fc.Arbitrary<ClockError> = fc.record({
  offsetMs: fc.integer({ min: -1_000_000, max: 1_000_000 }),
  rate: fc.double({ min: 0.99, max: 1.01, noNaN: true }),
});
const worlds = fc
  .tuple(
    fc.integer({ min: 0, max: 100 }),
    clock,
    fc.array(clock, { minLength: 1, maxLength: HOLDERS }),
  )
  .map(
    ([room, issuer, holders]) =>
      () =>
        new World(room, issuer, holders),
  );

const which = fc.nat({ max: 1_000 });
/** What may happen. Messages are named by number, so that any may come late, again, or never. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("exchange" as const), which }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("ask" as const), which, untold: fc.nat({ max: 30 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("deliverAsk" as const), which }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("deliverGrant" as const), which }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("spend" as const),
      which,
      n: fc.integer({ min: 1, max: 30 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("wait" as const), n: fc.nat({ max: TTL_MS * 1.2 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("room" as const), n: fc.nat({ max: 100 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restartHolder" as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restartIssuer" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
const steps = fc.array(step, { maxLength: 60, size: "max" });

function take(world: World, one: Step): void {
  switch (one.do) {
    case "spend":
      world.spend(one.which, one.n);
      return;
    case "wait":
      world.trueMs += one.n;
      return;
    case "room":
      world.room = one.n;
      return;
    case "restartIssuer":
      world.restartIssuer();
      return;
    case "ask":
      world.ask(one.which, one.untold);
      return;
    case "exchange":
    case "deliverAsk":
    case "deliverGrant":
    case "restartHolder":
      world[one.do](one.which);
  }
}

/** Long enough for every grant to have ended, whatever the clock. */
const QUIET_MS = TTL_MS * 1.1;

describe("credits, with lost, late, doubled and reordered messages and restarts of either side", () => {
  it("let through no more than is outstanding", () => {
    fc.assert(
      fc.property(worlds, steps, (create, all) => {
        const world = create();
        for (const one of all) {
          take(world, one);
          const { ofIssuer, ofEarlier } = world.letThrough();
          expect(ofIssuer).toBeLessThanOrEqual(world.issuer.outstanding(world.issuerMs));
          const { tokens, endsTrueMs } = world.inherited;
          expect(ofEarlier).toBeLessThanOrEqual(world.trueMs < endsTrueMs ? tokens : 0);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it("are granted within the room that grants in use leave, also to an issuer begun anew", () => {
    fc.assert(
      fc.property(worlds, steps, (create, all) => {
        const world = create();
        for (const one of all) {
          const before = world.promised.length;
          const { tokens, endsTrueMs } = world.inherited;
          take(world, one);
          const made = world.promised[before];
          if (made === undefined) continue;
          const given = made.limit - (world.told.get(made.name) ?? 0);
          if (given <= 0) continue;
          const others = world.promisedTo((name) => name !== made.name);
          expect(others + given).toBeLessThanOrEqual(world.room);
          expect(world.trueMs < endsTrueMs && tokens > 0 && world.letThrough().ofEarlier > 0).toBe(
            false,
          );
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it("are all back when nobody has spoken for a while, and can be had again", () => {
    fc.assert(
      fc.property(worlds, steps, fc.integer({ min: 2, max: 100 }), (create, all, room) => {
        const world = create();
        for (const one of all) take(world, one);
        world.trueMs += QUIET_MS;
        expect(world.issuer.outstanding(world.issuerMs)).toBe(0);
        expect(world.issuer.holders).toBe(0);
        expect(world.letThrough()).toEqual({ ofIssuer: 0, ofEarlier: 0 });
        world.room = room;
        // The first answer may be of an epoch that the holder has to get used to.
        world.exchange(0);
        world.trueMs += 1;
        world.exchange(0);
        expect(world.available(0)).toBeGreaterThanOrEqual(Math.min(5, Math.floor(room / 2)));
      }),
      { numRuns: 1_000 },
    );
  });

  it("are given to whoever asks while there is room, unless it has some and spends none", () => {
    fc.assert(
      fc.property(worlds, steps, which, (create, all, who) => {
        const world = create();
        for (const one of all) take(world, one);
        world.trueMs += QUIET_MS;
        world.restartHolder(who);
        for (let i = 0; i < HOLDERS; i++) if (i !== who % HOLDERS) world.exchange(i);
        world.trueMs += 1;
        world.restartHolder(who);
        const free = world.room - world.issuer.outstanding(world.issuerMs);
        world.exchange(who);
        expect(world.available(who) >= 1).toBe(free >= 1);
      }),
      { numRuns: 1_000 },
    );
  });

  it("reach everybody in the end, whoever asks first", () => {
    const everybody = [0, 1, 2, 3, 4, 5];
    const round = fc.shuffledSubarray(everybody, { minLength: 6 });
    const rounds = fc.array(round, { minLength: 600, maxLength: 600 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), rounds, (room, orders) => {
        const exact = { offsetMs: 0, rate: 1 };
        const clocks = everybody.map(() => exact);
        const world = new World(room, exact, clocks);
        const served = new Set<number>();
        const untold = new Set<number>();
        let endsMs: number[] = [];
        for (const order of orders) {
          world.trueMs += 100;
          endsMs = endsMs.filter((endMs) => endMs > world.trueMs);
          for (const index of order) {
            // What was spent is in use for a while from the moment at which it is told.
            if (untold.delete(index)) endsMs.push(world.trueMs + 150);
            world.room = room - endsMs.length;
            world.exchange(index);
            if (world.available(index) > 0) served.add(index);
            // Half of them keep what they get.
            if (index % 2 === 0 && world.spend(index, 1)) untold.add(index);
          }
        }
        expect(served.size).toBe(6);
      }),
      { numRuns: 50 },
    );
  });
});
