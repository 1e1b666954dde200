// Three regions under a load, in virtual time.
//
//   client ──► isolate, which chooses a pool
//              │  ½ rtt          ½ rtt             ½ rtt
//              ├────────► pool's object: endpoints ────────► isolate ────────► relay ──► engine
//              │                                                                           │
//   first token ◄──────────────────────────── ½ rtt ──────────────────────────────────────┘
//
// So a request costs the round trip to its pool twice. A pool that refuses costs it once, and then
// the next is tried. Clients are beside their isolates.

import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import { EventQueue } from "../event-queue.ts";
import { Flight } from "../flight.ts";
import type { Outcome } from "../outcome.ts";
import type { PoolChoice, PoolChoiceContext, PoolChoiceDefinition } from "./choice.ts";
import { Directory } from "./directory.ts";
import { PoolSite } from "./pool-site.ts";
import { REGIONS, rttMs, type Topology } from "./topology.ts";
import type { Arrival, RegionalLoad } from "./workload.ts";

/** Requests come when isolates have read of all pools. */
const START_MS = 3_000;
/** Pools tried for one request, as routing.retryPoolsMax has it. */
const ATTEMPTS_MAX = 3;
const STALE_AFTER_MS = 3_000;
/** Where rounds are slower than a second, as many are missed. */
const STALE_AFTER_ROUNDS = 3;

/** A pool is gone for a while, with all that it was at. Times since the first request could come. */
export interface Outage {
  readonly pool: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface RegionalOptions {
  readonly topology: Topology;
  readonly choice: PoolChoiceDefinition;
  readonly load: RegionalLoad;
  readonly outages?: readonly Outage[];
  readonly seed: number;
}

export interface RegionalOutcome extends Outcome {
  readonly region: number;
  readonly sessionIndex: number;
  /** Where it was served; -1 where it was not. */
  readonly pool: number;
  /** Its engine was gone before its last token. */
  readonly isBroken: boolean;
  /** Pools that refused it, or broke before its first token. */
  readonly refusals: number;
}

export function simulateRegions(options: RegionalOptions): readonly RegionalOutcome[] {
  return new RegionalSimulation(options).run();
}

/** Of a request without an answer. No time between its tokens is good. */
const NOTHING = {
  tpotMs: Infinity,
  cachedTokens: 0,
  outputTokens: 0,
  isShed: false,
  isBroken: false,
} as const;

interface Journey {
  readonly flight: Flight;
  readonly arrival: Arrival;
  readonly choice: PoolChoice;
  readonly order: readonly number[];
  /** Index in `order` of the pool that is asked. */
  attempt: number;
  refusals: number;
}

class RegionalSimulation {
  readonly #options: RegionalOptions;
  readonly #queue = new EventQueue();
  readonly #sites: readonly PoolSite[];
  readonly #isolates: readonly (readonly PoolChoice[])[];
  readonly #homes = new Map<number, number>();
  readonly #journeys = new Map<Flight, Journey>();
  readonly #outcomes: RegionalOutcome[] = [];
  readonly #rng: Rng;
  #left: number;

  constructor(options: RegionalOptions) {
    const { topology, load, seed, choice, outages = [] } = options;
    this.#options = options;
    this.#left = load.arrivals.length;
    this.#rng = createRng(seed);
    const queue = this.#queue;
    const directory = new Directory(queue, REGIONS.length);
    this.#sites = REGIONS.map((_, pool) => this.#createSite(pool));
    const { summaryIntervalMs } = topology;
    const digestIntervalMs = choice.readsDigests === true ? topology.digestIntervalMs : Infinity;
    this.#sites.forEach((site, pool) => {
      const fromMs = this.#rng() * summaryIntervalMs;
      const times = { fromMs, summaryIntervalMs, digestIntervalMs };
      site.voice?.begin((told) => directory.tell(pool, told), times);
    });
    this.#isolates = REGIONS.map((_, region) =>
      Array.from({ length: topology.isolatesPerRegion }, (__, i) => {
        const made = choice.create(this.#contextOf(region, i));
        const fromMs = this.#rng() * topology.summaryIntervalMs;
        directory.readBy({ choice: made, region }, topology, fromMs);
        return made;
      }),
    );
    for (const { pool, fromMs, untilMs } of outages) {
      queue.add(START_MS + fromMs, () => this.#sites[pool]!.setUp(false));
      queue.add(START_MS + untilMs, () => this.#sites[pool]!.setUp(true));
    }
    this.#expect(0);
  }

  run(): readonly RegionalOutcome[] {
    while (this.#left > 0 && this.#queue.runNext());
    return this.#outcomes;
  }

  #createSite(pool: number): PoolSite {
    const { topology, choice, seed } = this.#options;
    return new PoolSite({
      name: REGIONS[pool]!,
      shape: topology.shape,
      seed: seed * REGIONS.length + pool,
      isOracleInside: choice.isOracleInside === true,
      digestBytesMax: topology.digestBytesMax,
      queue: this.#queue,
      listener: {
        finished: (flight, atMs, cachedTokens) => this.#finished(flight, atMs, cachedTokens),
        broken: (flight) => this.#broken(flight),
      },
    });
  }

  #contextOf(region: number, isolate: number): PoolChoiceContext {
    const { topology, seed } = this.#options;
    return {
      region,
      rttMs: REGIONS.map((_, pool) => rttMs(region, pool)),
      staleAfterMs: Math.max(STALE_AFTER_MS, STALE_AFTER_ROUNDS * topology.summaryIntervalMs),
      rng: createRng((seed * REGIONS.length + region) * topology.isolatesPerRegion + isolate),
      homes: this.#homes,
      sites: this.#sites,
    };
  }

  /** One arrival is in the queue at a time. */
  #expect(index: number): void {
    const arrival = this.#options.load.arrivals[index];
    if (arrival === undefined) return;
    this.#queue.add(START_MS + arrival.session.startMs, () => {
      this.#arrive(arrival, index);
      this.#expect(index + 1);
    });
  }

  #arrive(arrival: Arrival, index: number): void {
    const { session, sessionIndex, region } = arrival;
    const sentAtMs = this.#queue.nowMs;
    const isMeasured = session.startMs >= this.#options.load.measuredFromMs;
    const flight = new Flight({ index, sessionIndex, session, turn: 0, sentAtMs, isMeasured });
    const isolates = this.#isolates[region]!;
    const choice = isolates[Math.floor(this.#rng() * isolates.length)]!;
    const order = choice.choose(flight.request, sentAtMs);
    const journey = { flight, arrival, choice, order, attempt: 0, refusals: 0 };
    this.#journeys.set(flight, journey);
    this.#try(journey);
  }

  #try(journey: Journey): void {
    const { flight, arrival, choice, order } = journey;
    const lastTry = Math.min(order.length, ATTEMPTS_MAX) - 1;
    const { nowMs } = this.#queue;
    // Whoever is left last is tried whatever is known of it.
    while (
      journey.attempt < lastTry &&
      choice.trying?.(flight.request, order[journey.attempt]!, nowMs) === false
    )
      journey.attempt++;
    const pool = order[journey.attempt];
    if (pool === undefined || journey.attempt > lastTry) return this.#shed(journey);
    const site = this.#sites[pool]!;
    const halfMs = rttMs(arrival.region, pool) / 2;
    this.#after(halfMs, () => {
      const slots = site.isUp ? site.pick(flight) : [];
      if (slots.length === 0) this.#after(halfMs, () => this.#refused(journey, pool, site.isUp));
      else
        this.#after(2 * halfMs + this.#options.topology.shape.network.toEngineMs, () => {
          if (!site.relay(flight, slots))
            this.#after(halfMs, () => this.#refused(journey, pool, true));
        });
    });
  }

  #after(ms: number, event: () => void): void {
    this.#queue.add(this.#queue.nowMs + ms, event);
  }

  /** A pool that is full says so, which is no failure. */
  #refused(journey: Journey, pool: number, isFull: boolean): void {
    const { choice, flight } = journey;
    const outcome = isFull ? "neutral" : "failure";
    choice.ended?.(flight.request, pool, { outcome, nowMs: this.#queue.nowMs });
    journey.refusals++;
    journey.attempt++;
    this.#try(journey);
  }

  #finished(flight: Flight, atMs: number, cachedTokens: number): void {
    const journey = this.#journeys.get(flight)!;
    const { arrival, choice, order, attempt } = journey;
    const pool = order[attempt]!;
    const halfMs = rttMs(arrival.region, pool) / 2;
    const endedAtMs = atMs + halfMs;
    if (choice.ended !== undefined) {
      this.#queue.add(endedAtMs, () =>
        choice.ended!(flight.request, pool, { outcome: "success", nowMs: endedAtMs }),
      );
    }
    this.#record(journey, {
      pool,
      endedAtMs,
      ttftMs: flight.firstTokenAtMs + halfMs - flight.sentAtMs,
      tpotMs: (atMs - flight.firstTokenAtMs) / Math.max(1, flight.outputCount - 1),
      cachedTokens,
      outputTokens: flight.outputCount,
      isShed: false,
      isBroken: false,
    });
  }

  /** Before its first byte it is tried elsewhere; after it the client sees an error. */
  #broken(flight: Flight): void {
    const journey = this.#journeys.get(flight)!;
    const pool = journey.order[journey.attempt]!;
    const halfMs = rttMs(journey.arrival.region, pool) / 2;
    this.#after(halfMs, () => {
      if (flight.firstTokenAtMs === Infinity) return this.#refused(journey, pool, false);
      const { nowMs } = this.#queue;
      journey.choice.ended?.(flight.request, pool, { outcome: "failure", nowMs });
      this.#record(journey, {
        ...NOTHING,
        pool,
        endedAtMs: nowMs,
        ttftMs: flight.firstTokenAtMs + halfMs - flight.sentAtMs,
        isBroken: true,
      });
    });
  }

  #shed(journey: Journey): void {
    const endedAtMs = this.#queue.nowMs;
    this.#record(journey, { ...NOTHING, pool: -1, endedAtMs, ttftMs: Infinity, isShed: true });
  }

  #record(
    { flight, arrival, refusals }: Journey,
    how: Omit<
      RegionalOutcome,
      keyof ReturnType<Flight["facts"]> | "region" | "sessionIndex" | "refusals"
    >,
  ): void {
    this.#left--;
    this.#journeys.delete(flight);
    if (!flight.isMeasured) return;
    const { region, sessionIndex } = arrival;
    this.#outcomes.push({ ...flight.facts(), ...how, region, sessionIndex, refusals });
  }
}
