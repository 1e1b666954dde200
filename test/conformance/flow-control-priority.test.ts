// Strict priority in virtual time: a pool at three times its capacity, in which a high band must hardly
// notice the rest, and the rest must be served when the load is over.

import { expect, it } from "vitest";
import type { FlowController } from "../../src/scheduler/flow-control/flow-controller.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import {
  type ControllerFacts,
  createController,
  NOW_MS,
  queued,
  usageLimitOf,
} from "../scheduler/support/flow-control.ts";

const SERVERS = 40;
const SERVICE_MS = 400;
/** Requests a second that the pool can serve. */
const CAPACITY = (1_000 * SERVERS) / SERVICE_MS;
const LOAD_MS = 60_000;
const HOLDBACK = { minCeiling: 0.9 };

interface Run {
  readonly highTtftP99Ms: number;
  readonly lowServed: number;
  readonly lowSent: number;
  readonly endedAtMs: number;
}

/** A pool of alike servers; a request's first token comes a fixed time after it is let through. */
class Pool {
  readonly #controller: FlowController;
  readonly #rng = createRng(3);
  /** Ends of what is served, unsorted; few. */
  #ends: { atMs: number; requestId: string }[] = [];
  readonly #highTtftMs: number[] = [];
  #lowServed = 0;

  constructor(facts: ControllerFacts) {
    this.#controller = createController(facts);
  }

  run(rates: { readonly high: number; readonly low: number }): Run {
    const arrivals = this.#arrivals(rates);
    let nowMs = 0;
    while (arrivals.length > 0 || this.#ends.length > 0) {
      const nextEndMs = Math.min(Infinity, ...this.#ends.map(({ atMs }) => atMs));
      const arrival = arrivals.at(-1);
      nowMs = Math.min(nextEndMs, arrival?.atMs ?? Infinity);
      if (arrival?.atMs === nowMs) {
        arrivals.pop();
        const { priority } = arrival;
        const receivedAtMs = NOW_MS + nowMs;
        this.#controller.enqueue(queued({ priority, receivedAtMs }), NOW_MS + nowMs);
      }
      this.#end(nowMs);
      this.#serve(nowMs);
    }
    this.#highTtftMs.sort((a, b) => a - b);
    return {
      highTtftP99Ms: this.#highTtftMs[Math.floor(this.#highTtftMs.length * 0.99)]!,
      lowServed: this.#lowServed,
      lowSent: Math.round((rates.low * LOAD_MS) / 1_000),
      endedAtMs: nowMs,
    };
  }

  /** The next one last. */
  #arrivals(rates: { high: number; low: number }): { atMs: number; priority: number }[] {
    const all = [
      [rates.high, 10],
      [rates.low, 0],
    ].flatMap(([rate = 0, priority = 0]) =>
      Array.from({ length: Math.round((rate * LOAD_MS) / 1_000) }, () => ({
        atMs: this.#rng() * LOAD_MS,
        priority,
      })),
    );
    return all.sort((a, b) => b.atMs - a.atMs);
  }

  #end(nowMs: number): void {
    for (const { atMs, requestId } of this.#ends)
      if (atMs <= nowMs) this.#controller.settled(requestId, 0, { nowMs: NOW_MS + nowMs });
    this.#ends = this.#ends.filter(({ atMs }) => atMs > nowMs);
  }

  #serve(nowMs: number): void {
    for (;;) {
      const saturation = this.#ends.length / SERVERS;
      const request = this.#controller.next(NOW_MS + nowMs, { saturation });
      if (request === undefined) return;
      const waitMs = NOW_MS + nowMs - request.receivedAtMs;
      if (request.priority === 10) this.#highTtftMs.push(waitMs + SERVICE_MS / 2);
      else this.#lowServed += 1;
      const atMs = nowMs + SERVICE_MS * (0.1 + 1.8 * this.#rng());
      this.#ends.push({ atMs, requestId: request.requestId });
    }
  }
}

const CASES: readonly { name: string; high: number; facts: ControllerFacts }[] = [
  { name: "where it is a fifth of the capacity", high: 0.2, facts: {} },
  // Nobody is ended for it: the more there is of the high band, the more of the pool has to be kept free.
  {
    name: "where it is half, and a tenth of the pool is held back for it",
    high: 0.5,
    facts: { bands: { 10: {} }, usageLimit: usageLimitOf("priority-holdback-policy", HOLDBACK) },
  },
];

it.for(CASES)(
  "keeps a high band's time to first token as it is alone, and drains the low one after: $name",
  ({ high, facts }) => {
    const alone = new Pool(facts).run({ high: high * CAPACITY, low: 0 });
    const crowded = new Pool(facts).run({ high: high * CAPACITY, low: (3 - high) * CAPACITY });
    expect(crowded.highTtftP99Ms).toBeLessThanOrEqual(1.3 * alone.highTtftP99Ms);
    expect(crowded.lowServed).toBe(crowded.lowSent);
    expect(crowded.endedAtMs).toBeLessThan(1.2 * 3 * LOAD_MS);
  },
);
