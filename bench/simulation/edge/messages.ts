// Messages between isolates and objects: how long they take, whether they arrive, and what they weigh.

import { serialize } from "node:v8";
import type { Rng } from "../../../src/scheduler/support/rng.ts";
import { drawExponential } from "../distributions.ts";
import type { EventQueue } from "../event-queue.ts";
import type { EdgeTopology } from "./topology.ts";

/** By what carries them, in bytes of structured clones, as RPC makes them. */
export interface MessageBytes {
  /** To objects: commits, ends, what is asked for. */
  commits: number;
  /** From objects: snapshots and credit, by syncs and with picks' answers. */
  snapshots: number;
  syncCount: number;
}

export class Messages {
  readonly bytes: MessageBytes = { commits: 0, snapshots: 0, syncCount: 0 };
  lost = 0;
  readonly #queue: EventQueue;
  readonly #topology: EdgeTopology;
  readonly #rng: Rng;

  constructor(queue: EventQueue, topology: EdgeTopology, rng: Rng) {
    this.#queue = queue;
    this.#topology = topology;
    this.#rng = rng;
  }

  /** Half a round trip, and some more: messages overtake each other. */
  travel(rttMs: number, arrived: () => void): void {
    const halfMs = rttMs / 2;
    const lateMs = halfMs * this.#topology.jitterShare * drawExponential(this.#rng);
    this.#queue.add(this.#queue.nowMs + halfMs + lateMs, arrived);
  }

  /** The same, of a message that may get lost. */
  travelIfAtAll(rttMs: number, arrived: () => void): void {
    if (this.#rng() < this.#topology.lostShare) this.lost++;
    else this.travel(rttMs, arrived);
  }
}

export function weigh(message: unknown): number {
  return serialize(message).length;
}
