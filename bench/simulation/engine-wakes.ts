// Sees to it that simulated engines go on, each when its next step ends, and reads their metrics.

import type { Engine } from "../../src/agents/simulator/model/engine.ts";
import type { EndpointSample } from "../../src/scheduler/model/endpoint-table.ts";
import type { EventQueue } from "./event-queue.ts";

export class EngineWakes {
  readonly #engines: readonly Engine<number>[];
  readonly #queue: EventQueue;
  readonly #advanced: (slot: number) => void;
  readonly #wakesAtMs: Float64Array;

  /** `advanced`: the engine in a slot has done a step. */
  constructor(
    engines: readonly Engine<number>[],
    queue: EventQueue,
    advanced: (slot: number) => void = () => {},
  ) {
    this.#engines = engines;
    this.#queue = queue;
    this.#advanced = advanced;
    this.#wakesAtMs = new Float64Array(engines.length).fill(Infinity);
  }

  /** The engine has something to do, or something else. */
  wake(slot: number): void {
    const engine = this.#engines[slot]!;
    const atMs = engine.nextEventAtMs();
    if (atMs === this.#wakesAtMs[slot] || atMs === Infinity) return;
    this.#wakesAtMs[slot] = atMs;
    this.#queue.add(atMs, () => {
      if (this.#wakesAtMs[slot] !== atMs) return;
      this.#wakesAtMs[slot] = Infinity;
      engine.advance(atMs);
      this.#advanced(slot);
      this.wake(slot);
    });
  }
}

/** What its metrics say. */
export function sampleOf({
  runningCount,
  waitingCount,
  cache,
  config,
}: Engine<number>): EndpointSample {
  return {
    waiting: waitingCount,
    running: runningCount,
    kvUsage: cache.inUseCount / cache.size,
    kvBlockSize: config.blockSize,
    kvBlocks: config.blockCount,
  };
}
