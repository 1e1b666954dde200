// The engines of one pool, and what leaves them: ends of requests, samples of metrics, blocks that come and go.

import { Engine, type EngineListener } from "../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../src/agents/simulator/model/sequence.ts";
import type { EndpointSample } from "../../../src/scheduler/model/endpoint-table.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { EngineWakes, sampleOf } from "../engine-wakes.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Flight } from "../flight.ts";
import type { PoolShape } from "../pool-shape.ts";
import { HashedIndex } from "./hashed-index.ts";

/** Told at the engines' own time: whoever tells it on adds how long that takes. */
export interface BankListener {
  finished(flight: Flight, slot: number, end: { atMs: number; cachedTokens: number }): void;
  sampled(slot: number, sample: EndpointSample, atMs: number): void;
  /** Blocks by their names, since the last time. */
  blocksChanged(slot: number, stored: readonly number[], removed: readonly number[]): void;
}

export class EngineBank {
  readonly engines: readonly Engine<number>[];
  readonly #queue: EventQueue;
  readonly #listener: BankListener;
  readonly #wakes: EngineWakes;
  readonly #running = new Map<Flight, Sequence<number>>();
  /** By slot, what has not been told yet. */
  readonly #stored: number[][];
  readonly #removed: number[][];

  constructor(shape: PoolShape, queue: EventQueue, listener: BankListener) {
    const { endpointCount, scrapeIntervalMs } = shape;
    this.#queue = queue;
    this.#listener = listener;
    this.#stored = Array.from({ length: endpointCount }, () => []);
    this.#removed = Array.from({ length: endpointCount }, () => []);
    this.engines = Array.from({ length: endpointCount }, (_, slot) => {
      const index = new HashedIndex(shape.engine.blockCount);
      return new Engine(shape.engine, this.#listenerOf(slot), createRng(slot), index);
    });
    this.#wakes = new EngineWakes(this.engines, queue, (slot) => this.#tellBlocks(slot));
    // Spread over the interval, so that not all endpoints are seen at once.
    for (let slot = 0; slot < endpointCount; slot++)
      queue.add((scrapeIntervalMs * slot) / endpointCount, () =>
        this.#scrape(slot, scrapeIntervalMs),
      );
  }

  /** It goes to the first of `slots` that takes it, which is given; undefined: none does. */
  submit(flight: Flight, slots: readonly number[]): number | undefined {
    for (const slot of slots) {
      const sequence = this.engines[slot]!.submit(flight, this.#queue.nowMs);
      if (sequence === undefined) continue;
      this.#running.set(flight, sequence);
      flight.slot = slot;
      this.#wakes.wake(slot);
      return slot;
    }
    return undefined;
  }

  /** Takes it away from its engine; false where it has its first token, or is at none. */
  abort(flight: Flight): boolean {
    const sequence = this.#running.get(flight);
    const { nowMs } = this.#queue;
    if (sequence === undefined || flight.firstTokenAtMs <= nowMs) return false;
    if (!this.engines[flight.slot]!.abort(sequence, nowMs)) return false;
    this.#running.delete(flight);
    this.#wakes.wake(flight.slot);
    flight.slot = -1;
    flight.firstTokenAtMs = Infinity;
    return true;
  }

  #tellBlocks(slot: number): void {
    const stored = this.#stored[slot]!;
    const removed = this.#removed[slot]!;
    if (stored.length + removed.length === 0) return;
    this.#listener.blocksChanged(slot, stored, removed);
    stored.length = 0;
    removed.length = 0;
  }

  #listenerOf(slot: number): EngineListener<number> {
    const stored = this.#stored[slot]!;
    const removed = this.#removed[slot]!;
    return {
      scheduled: () => {},
      firstToken: ({ content }, atMs) => {
        const flight = content as Flight;
        flight.firstTokenAtMs = atMs;
      },
      finished: (sequence, atMs) => this.#finished(sequence, slot, atMs),
      preempted: () => {},
      stepped: () => {},
      stored: (name) => void stored.push(name),
      removed: (name) => void removed.push(name),
    };
  }

  #finished({ content, cachedCount }: Sequence<number>, slot: number, atMs: number): void {
    this.#running.delete(content as Flight);
    this.#listener.finished(content as Flight, slot, { atMs, cachedTokens: cachedCount });
  }

  #scrape(slot: number, intervalMs: number): void {
    const atMs = this.#queue.nowMs;
    this.#listener.sampled(slot, sampleOf(this.engines[slot]!), atMs);
    this.#queue.add(atMs + intervalMs, () => this.#scrape(slot, intervalMs));
  }
}
