// A pool in its region: engines, the object that picks among them, and what it says of itself.

import { Engine, type EngineListener } from "../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../src/agents/simulator/model/sequence.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { DenseIndex } from "../dense-index.ts";
import { EngineWakes, sampleOf } from "../engine-wakes.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Flight } from "../flight.ts";
import { createOracle, type OraclePolicy } from "../policies/oracle.ts";
import { createShipped, type ShippedPolicy } from "../policies/shipped.ts";
import type { Outlet, PolicyContext, RoutedRequest } from "../policy.ts";
import type { PoolShape } from "../pool-shape.ts";
import { PoolVoice } from "./pool-voice.ts";

/** Told what became of a request at an engine. */
export interface SiteListener {
  finished(flight: Flight, atMs: number, cachedTokens: number): void;
  /** Its engine is gone. */
  broken(flight: Flight): void;
}

export interface PoolSiteOptions {
  readonly name: string;
  readonly shape: PoolShape;
  readonly seed: number;
  readonly isOracleInside: boolean;
  readonly digestBytesMax: number;
  readonly queue: EventQueue;
  readonly listener: SiteListener;
}

const NO_OUTLET: Outlet = {
  send: () => {
    throw new Error("a pool here decides at once");
  },
  refuse: () => {
    throw new Error("a pool here decides at once");
  },
};

export class PoolSite {
  readonly name: string;
  /** Undefined where nobody speaks for the pool. */
  readonly voice: PoolVoice | undefined;
  readonly engines: readonly Engine<number>[];
  readonly #queue: EventQueue;
  readonly #shape: PoolShape;
  readonly #listener: SiteListener;
  readonly #wakes: EngineWakes;
  readonly #running = new Map<Flight, Sequence<number>>();
  readonly #policy: ShippedPolicy | OraclePolicy;
  #isUp = true;

  constructor(options: PoolSiteOptions) {
    const { name, shape, seed, queue, listener, isOracleInside, digestBytesMax } = options;
    this.name = name;
    this.#queue = queue;
    this.#shape = shape;
    this.#listener = listener;
    const { endpointCount } = shape;
    this.engines = Array.from({ length: endpointCount }, (_, slot) => this.#createEngine(slot));
    this.#wakes = new EngineWakes(this.engines, queue);
    const context: PolicyContext = {
      endpointCount,
      shape,
      rng: createRng(seed),
      engines: this.engines,
      outlet: NO_OUTLET,
    };
    if (isOracleInside) {
      this.#policy = createOracle(context);
    } else {
      const shipped = createShipped(undefined, context);
      this.#policy = shipped;
      const { pool } = shipped;
      const incarnation = `sim-${seed}`;
      this.voice = new PoolVoice({ name, pool, incarnation, digestBytesMax, queue });
    }
    for (let slot = 0; slot < endpointCount; slot++) this.#scheduleScrapes(slot);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** While it is not up every request is refused, and nobody is told to be there. Who was there is lost. */
  setUp(isUp: boolean): void {
    this.#isUp = isUp;
    if (!isUp) this.#breakAll();
    if (this.voice === undefined) return;
    this.voice.isUp = isUp;
    this.voice.say();
  }

  /** What a request would cost here by those who see everything, without the way here. */
  oracleCostMs(request: RoutedRequest): number {
    const policy = this.#policy as OraclePolicy;
    return policy.costMs(request);
  }

  /** Picks endpoints for a request whose choice fell on this pool. */
  pick(flight: Flight): readonly number[] {
    const slots = this.#policy.choose(flight.request, this.#queue.nowMs);
    return slots === undefined ? [] : Array.from(slots);
  }

  /** The request is at the relay: it goes to the first of `slots` that takes it. */
  relay(flight: Flight, slots: readonly number[]): boolean {
    const { reportMs } = this.#shape.network;
    const nowMs = this.#queue.nowMs;
    const sequence = this.#isUp ? this.#submit(flight, slots) : undefined;
    if (sequence === undefined) {
      this.#policy.shed?.(flight.request, slots.at(-1)!, nowMs);
      return false;
    }
    const { slot } = flight;
    this.#running.set(flight, sequence);
    flight.decidedAtMs = nowMs;
    this.#wakes.wake(slot);
    this.#queue.add(nowMs + reportMs, () =>
      this.#policy.dispatched?.(flight.request, slot, this.#queue.nowMs),
    );
    return true;
  }

  #submit(flight: Flight, slots: readonly number[]): Sequence<number> | undefined {
    for (const slot of slots) {
      const sequence = this.engines[slot]!.submit(flight, this.#queue.nowMs);
      if (sequence === undefined) continue;
      flight.slot = slot;
      return sequence;
    }
    return undefined;
  }

  #breakAll(): void {
    const { nowMs } = this.#queue;
    for (const [flight, sequence] of this.#running) {
      this.engines[flight.slot]!.abort(sequence, nowMs);
      this.#wakes.wake(flight.slot);
      this.#queue.add(nowMs + this.#shape.network.reportMs, () =>
        this.#policy.shed?.(flight.request, flight.slot, this.#queue.nowMs),
      );
      this.#listener.broken(flight);
    }
    this.#running.clear();
  }

  #createEngine(slot: number): Engine<number> {
    const listener: EngineListener<number> = {
      scheduled: () => {},
      firstToken: ({ content }, atMs) => {
        const flight = content as Flight;
        flight.firstTokenAtMs = atMs;
      },
      finished: (sequence, atMs) => this.#finished(sequence, slot, atMs),
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      removed: () => {},
    };
    return new Engine(this.#shape.engine, listener, createRng(slot), new DenseIndex());
  }

  #finished({ content, cachedCount }: Sequence<number>, slot: number, atMs: number): void {
    const flight = content as Flight;
    this.#running.delete(flight);
    const how = {
      ttftMs: flight.firstTokenAtMs - flight.decidedAtMs,
      durationMs: atMs - flight.decidedAtMs,
      promptTokens: flight.promptCount,
      cachedTokens: cachedCount,
      completionTokens: flight.outputCount,
    };
    this.#queue.add(atMs + this.#shape.network.reportMs, () => {
      this.#policy.finished?.(flight.request, slot, how, this.#queue.nowMs);
      this.voice?.ended(this.#queue.nowMs);
    });
    this.#listener.finished(flight, atMs, cachedCount);
  }

  #scheduleScrapes(slot: number): void {
    const { scrapeIntervalMs, endpointCount, network } = this.#shape;
    const scrape = (): void => {
      const atMs = this.#queue.nowMs;
      const sample = sampleOf(this.engines[slot]!);
      this.#queue.add(atMs + network.reportMs, () =>
        this.#policy.sampled?.(slot, sample, atMs, this.#queue.nowMs),
      );
      this.#queue.add(atMs + scrapeIntervalMs, scrape);
    };
    this.#queue.add((scrapeIntervalMs * slot) / endpointCount, scrape);
  }
}
