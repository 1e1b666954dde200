// What shards let through by the lead's credit, whatever happens to messages and objects: real leads, real
// holders, and one number for the pool's capacity.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ShardAnswer, ShardTold } from "../../../src/durable/shards/contract.ts";
import { packLoads, unpackLoads } from "../../../src/durable/shards/endpoint-loads.ts";
import { SHARD_LEASE_MS } from "../../../src/durable/shards/members.ts";
import { ShardCapacity } from "../../../src/durable/shards/shard-capacity.ts";
import {
  PRESSED_MS,
  TELL_DEADLINE_MS,
  TELL_EVERY_MS,
} from "../../../src/durable/shards/shard-exchange.ts";
import { ShardLead } from "../../../src/durable/shards/shard-lead.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const STEP_MS = 10;

interface World {
  readonly shards: number;
  readonly capacity: number;
  readonly lost: number;
  readonly delayMaxMs: number;
  readonly restarts: number;
  /** A shard that hears nothing for a while, of which the others hear nothing. */
  readonly cutOff: boolean;
  readonly seed: number;
}

class Shard {
  readonly capacity: ShardCapacity;
  readonly index: number;
  own = 0;
  others = 0;
  answeredAtMs = -Infinity;
  toldAtMs = -Infinity;
  seq = 0;
  pauseMs = TELL_EVERY_MS;
  isWaiting = false;
  readonly #world: Simulation;

  constructor(world: Simulation, index: number) {
    this.#world = world;
    this.index = index;
    this.capacity = new ShardCapacity({
      clock: () => world.nowMs,
      pool: "p",
      epoch: `s${index}.${world.lives++}`,
      underWay: () => this.own,
      ask: () => (this.pauseMs = STEP_MS),
      press: () => (this.pauseMs = Math.min(this.pauseMs, PRESSED_MS)),
    });
  }

  get isAlone(): boolean {
    const isSilent = this.#world.nowMs - this.answeredAtMs >= SHARD_LEASE_MS;
    return isSilent || !this.capacity.isTogether;
  }

  /** As the queue does it: by what it sees, and by credit. */
  letThrough(): void {
    const { shards, capacity } = this.#world.given;
    const seen = this.isAlone ? this.own * shards : this.own + this.others;
    this.isWaiting = seen >= capacity || !this.capacity.isThere();
    if (this.isWaiting) return this.capacity.wanted(3);
    this.capacity.spend();
    this.own += 1;
  }

  tell(): ShardTold {
    this.toldAtMs = this.#world.nowMs;
    this.pauseMs = TELL_EVERY_MS;
    return {
      shard: this.index,
      epoch: `s${this.index}`,
      seq: ++this.seq,
      count: this.#world.given.shards,
      mapVersion: 0,
      isLeaving: false,
      wantsAll: false,
      samples: [],
      loads: packLoads([["e", { requests: this.own, tokens: 0, unseen: 0 }]]),
      work: [],
      service: [],
      credit: this.capacity.ask(),
      waiting: this.isWaiting ? 3 : 0,
    };
  }

  hear({ credit, loads, isPressed }: ShardAnswer, askedAtMs: number): void {
    if (isPressed === true) this.pauseMs = Math.min(this.pauseMs, PRESSED_MS);
    this.answeredAtMs = askedAtMs;
    this.others = unpackLoads(loads).get("e")?.requests ?? 0;
    if (credit === undefined) this.capacity.notGranted();
    else this.capacity.granted(credit, askedAtMs);
    // Who waits is let through at once.
    for (let i = 0; i < 3 && this.isWaiting; i++) this.letThrough();
  }
}

class Simulation {
  nowMs = 1_000_000;
  lives = 0;
  most = 0;
  served = 0;
  readonly given: World;
  readonly #rng: () => number;
  readonly #shards: Shard[];
  #lead: ShardLead;
  readonly #due: { atMs: number; run: () => void }[] = [];

  constructor(given: World) {
    this.given = given;
    this.#rng = createRng(given.seed);
    this.#shards = Array.from({ length: given.shards }, (_, i) => new Shard(this, i));
    this.#lead = this.#createLead();
  }

  #createLead(): ShardLead {
    const { capacity, shards } = this.given;
    const [zero] = this.#shards;
    const lead: ShardLead = new ShardLead(
      {
        clock: () => this.nowMs,
        epoch: `lead${this.lives++}`,
        isFirst: false,
        pool: () => {
          const others = unpackLoads(lead.othersOf(0)).get("e")?.requests ?? 0;
          return { room: Math.max(0, capacity - zero!.own - others), capacity };
        },
        heard: () => undefined,
        mapChanged: () => undefined,
      },
      { count: shards, version: 0, splits: [] },
    );
    return lead;
  }

  run(forMs: number): void {
    const { restarts, cutOff, shards } = this.given;
    const endMs = this.nowMs + forMs;
    const cutFromMs = this.nowMs + forMs / 3;
    const cutUntilMs = cutFromMs + 4_000;
    for (; this.nowMs < endMs; this.nowMs += STEP_MS) {
      if (this.#rng() < (restarts * STEP_MS) / forMs) this.#lead = this.#createLead();
      for (const due of this.#due.splice(0)) {
        if (due.atMs <= this.nowMs) due.run();
        else this.#due.push(due);
      }
      for (const shard of this.#shards) {
        const isCut =
          cutOff &&
          shard.index === shards - 1 &&
          this.nowMs >= cutFromMs &&
          this.nowMs < cutUntilMs;
        this.#step(shard, isCut);
      }
      const underWay = this.#shards.reduce((sum, { own }) => sum + own, 0);
      this.most = Math.max(this.most, underWay);
    }
  }

  #step(shard: Shard, isCut: boolean): void {
    for (let i = 0; i < 3; i++) if (this.#rng() < 0.3) shard.letThrough();
    for (let i = shard.own; i > 0; i--)
      if (this.#rng() < 0.05) {
        shard.own -= 1;
        this.served += 1;
      }
    const isUnderWay =
      shard.answeredAtMs < shard.toldAtMs && this.nowMs - shard.toldAtMs < TELL_DEADLINE_MS;
    if (!isUnderWay && this.nowMs - shard.toldAtMs >= shard.pauseMs) this.#exchange(shard, isCut);
  }

  #exchange(shard: Shard, isCut: boolean): void {
    const told = shard.tell();
    const askedAtMs = this.nowMs;
    // The lead's own words take no way.
    if (shard.index === 0) return shard.hear(this.#lead.told(told), askedAtMs);
    const { lost, delayMaxMs } = this.given;
    const deliver = () => {
      const answer = this.#lead.told(told);
      if (isCut || this.#rng() < lost) return;
      this.#later(delayMaxMs, () => shard.hear(answer, askedAtMs));
    };
    if (isCut || this.#rng() < lost) return;
    this.#later(delayMaxMs, deliver);
    if (this.#rng() < 0.1) this.#later(3 * delayMaxMs, deliver);
  }

  #later(maxMs: number, run: () => void): void {
    this.#due.push({ atMs: this.nowMs + this.#rng() * maxMs, run });
  }
}

const facts = {
  shards: fc.integer({ min: 2, max: 8 }),
  capacity: fc.integer({ min: 8, max: 200 }),
  lost: fc.constantFrom(0, 0.05, 0.3),
  delayMaxMs: fc.integer({ min: 0, max: 120 }),
  restarts: fc.constantFrom(0, 0, 1, 3),
  seed: fc.integer(),
};

describe("what shards of a pool let through together", () => {
  it("is what the pool holds, while the lead is there and heard", () => {
    const sound = fc.record({ ...facts, lost: fc.constant(0), restarts: fc.constant(0) });
    fc.assert(
      fc.property(sound, (given) => {
        const simulation = new Simulation({ ...given, cutOff: false });
        simulation.run(8_000);
        // Before the first grant each goes by its share, rounded up.
        expect(simulation.most).toBeLessThanOrEqual(given.capacity + given.shards);
        expect(simulation.served).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it("is no more than a share beyond it, whatever is lost, late, cut off or begun anew", () => {
    fc.assert(
      fc.property(fc.record({ ...facts, cutOff: fc.boolean() }), (given) => {
        const simulation = new Simulation(given);
        simulation.run(12_000);
        const share = Math.ceil(given.capacity / given.shards);
        expect(simulation.most).toBeLessThanOrEqual(given.capacity + share + given.shards);
        expect(simulation.served).toBeGreaterThan(0);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it("is nearly all that the pool holds while nothing is lost", () => {
    const world = { shards: 4, capacity: 40, lost: 0, delayMaxMs: 5, restarts: 0, cutOff: false };
    const simulation = new Simulation({ ...world, seed: 1 });
    simulation.run(4_000);
    const before = simulation.served;
    simulation.run(6_000);
    // Each request takes 200 ms in the mean.
    expect(simulation.served - before).toBeGreaterThan(0.7 * 6 * (40 / 200) * 1_000);
  });
});
