// Flow control under arbitrary interleavings of whatever can happen to a pool, for every fairness policy:
//
//   every request ends exactly once; nobody else's end is told
//   what is counted as waiting is what waits, within the limits, and nothing at the end
//   the highest band in which something waits is served; within a flow, who came first
//   nobody waits longer than its time, but for a tick of the wheel

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FairnessPolicy, QueuedRequest } from "../../src/scheduler/flow-control/contracts.ts";
import type { FlowController } from "../../src/scheduler/flow-control/flow-controller.ts";
import type { Ejected } from "../../src/scheduler/flow-control/outcomes.ts";
import type { DropReason } from "../../src/scheduler/outcome.ts";
import type { FlowControlSnapshot } from "../../src/scheduler/flow-control/snapshot.ts";
import { pluginsOfKind } from "../../src/scheduler/registry.ts";
import { assert } from "../../src/scheduler/support/assert.ts";
import { TICK_MS } from "../../src/scheduler/support/timer-wheel.ts";
import { createController, NOW_MS, queued } from "../scheduler/support/flow-control.ts";
import { createPlugin } from "../scheduler/support/plugins.ts";

const LIMITS = { requests: 40, bytes: 60_000, tokens: 90_000 };
const BAND_LIMITS = { requests: 25, bytes: Infinity, tokens: Infinity };
const TTL_MS = 5_000;
const NO_ENDPOINT_TTL_MS = 8_000;
const SEEN = { lagMs: 100, freshSaturation: () => 1 };

type End = DropReason | "dispatched";

interface Open {
  readonly request: QueuedRequest;
  readonly enqueuedAtMs: number;
}

interface Arrival {
  readonly flow: number;
  readonly priority: number;
  readonly bytes: number;
  readonly ttlMs: number | null;
  /** Of the look for somebody to let through before it displaces anybody; null without one. */
  readonly saturation: number | null;
}

/** A pool as its owner sees it, and beside it what must be true. */
class Scene {
  readonly #fairness: FairnessPolicy;
  #controller: FlowController;
  #nowMs = NOW_MS;
  #endpoints = 1;
  #isBlind = false;
  readonly #waiting = new Map<string, Open>();
  readonly #inFlight = new Map<string, QueuedRequest>();
  readonly #ends = new Map<string, End>();
  #serial = 0;

  constructor(fairness: FairnessPolicy) {
    this.#fairness = fairness;
    this.#controller = this.#create();
  }

  enqueue(facts: Arrival): void {
    const { flow, priority, bytes, ttlMs, saturation } = facts;
    this.#serial += 1;
    const request = queued({
      requestId: `s${this.#serial}`,
      fairnessId: `f${flow}`,
      priority,
      bytes,
      uncachedTokens: bytes,
      weight: 1 + (flow % 3),
      receivedAtMs: this.#nowMs,
      ...(ttlMs === null ? {} : { ttlMs }),
    });
    if (saturation === null) this.#enqueue(request);
    else this.#enter(request, saturation);
  }

  dispatch(saturation: number): void {
    this.advance(0);
    const conditions = { saturation: this.#isBlind ? 1 : saturation };
    const request = this.#controller.next(this.#nowMs, conditions);
    if (request === undefined) {
      const mustServe = conditions.saturation < 1 && this.#endpoints > 0;
      assert(
        !(mustServe && this.#waiting.size > 0),
        "nobody is let through though the pool has room",
      );
      return;
    }
    assert(conditions.saturation < 1, "a full pool takes a request");
    assert(this.#endpoints > 0, "a pool without endpoints takes a request");
    for (const { request: other } of this.#waiting.values()) {
      assert(other.priority <= request.priority, "a lower band is served first");
      const isBehind =
        other.fairnessId !== request.fairnessId ||
        other.priority < request.priority ||
        other.receivedAtMs >= request.receivedAtMs;
      assert(isBehind, "a flow is served out of order");
    }
    this.#ended(request, "dispatched");
    this.#inFlight.set(request.requestId, request);
  }

  cancel(at: number): void {
    const request = pick([...this.#waiting.values()], at)?.request;
    if (request === undefined) return;
    const ejected = this.#controller.cancel(request.requestId, request.attempt, this.#nowMs);
    assert(ejected?.request === request, "somebody else is cancelled");
    this.#ended(request, "rejected-context-cancelled");
    assert(
      this.#controller.cancel(request.requestId, request.attempt, this.#nowMs) === undefined,
      "a request is cancelled twice",
    );
  }

  complete(at: number, isCancelled: boolean): void {
    const request = pick([...this.#inFlight.values()], at);
    if (request !== undefined) this.#settle(request, isCancelled ? 0 : 1.5);
  }

  evict(): void {
    for (const { request } of this.#controller.evictions(this.#nowMs, SEEN)) {
      assert(
        this.#inFlight.get(request.requestId) === request,
        "somebody not in flight is evicted",
      );
      assert(request.priority < 0, "a request that may not be shed is evicted");
      this.#settle(request, 0);
    }
  }

  setEndpoints(count: number): void {
    this.#endpoints = count;
    this.#controller.setEndpointCount(count, this.#nowMs);
  }

  setBlind(isBlind: boolean): void {
    this.#isBlind = isBlind;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    this.#tell(this.#controller.advance(this.#nowMs));
    for (const { request } of this.#waiting.values()) {
      const { receivedAtMs, ttlMs = Infinity } = request;
      const patienceMs = Math.min(ttlMs, TTL_MS + NO_ENDPOINT_TTL_MS);
      assert(
        this.#nowMs - receivedAtMs <= patienceMs + TICK_MS,
        "a request waits for longer than its time",
      );
    }
  }

  /** The object has lost its memory: Workers ask again, in any order, with their first arrival. */
  restart(seed: number): void {
    const waiting = [...this.#waiting.values()].map(({ request }) => request);
    for (const request of this.#inFlight.values()) this.#forget(request);
    this.#waiting.clear();
    this.#controller = this.#create();
    waiting.sort((a, b) => scramble(a, seed) - scramble(b, seed));
    for (const request of waiting) this.#enqueue(request);
  }

  /** After every step. */
  check(): void {
    const { waiting, inFlight, bands } = this.#controller.snapshot(this.#nowMs);
    const requests = [...this.#waiting.values()].map(({ request }) => request);
    const bytes = requests.reduce((sum, request) => sum + request.bytes, 0);
    const outputTokens = requests.reduce((sum, request) => sum + request.outputTokens, 0);
    assert(waiting.requests === requests.length, "what waits is counted wrong");
    assert(waiting.bytes === bytes, "bytes that wait are counted wrong");
    assert(waiting.tokens === bytes + outputTokens, "tokens that wait are counted wrong");
    assert(inFlight === this.#inFlight.size, "what is in flight is counted wrong");
    assert(waiting.requests <= LIMITS.requests, "more requests wait than may");
    assert(waiting.bytes <= LIMITS.bytes, "more bytes wait than may");
    assert(waiting.tokens <= LIMITS.tokens, "more tokens wait than may");
    for (const band of bands)
      assert(
        band.waiting.requests <= BAND_LIMITS.requests,
        "more requests wait in a band than may",
      );
  }

  /** Everything comes to its end. Gives what is left of it in the counts. */
  finish(): FlowControlSnapshot {
    this.setBlind(false);
    this.setEndpoints(1);
    while (this.#waiting.size > 0) this.dispatch(0);
    for (const request of this.#inFlight.values()) this.#settle(request, 1);
    this.check();
    assert(this.#ends.size === this.#serial, "a request is lost");
    // Nothing is kept of flows that have been idle for long.
    this.#controller.advance(this.#nowMs + 3_600_000);
    const { bands } = this.#controller.snapshot(this.#nowMs);
    const isForgotten = bands.every(({ flowCount }) => flowCount === 0);
    assert(isForgotten, "flows are kept for ever");
    return this.#controller.snapshot(this.#nowMs);
  }

  #create(): FlowController {
    const limits = { ...BAND_LIMITS };
    const controller = createController({
      limits: LIMITS,
      band: {
        limits,
        ttlMs: TTL_MS,
        noEndpointTtlMs: NO_ENDPOINT_TTL_MS,
        fairness: this.#fairness,
      },
      eviction: {
        filter: createPlugin("sheddable-eviction-filter") as never,
        order: createPlugin("priority-then-time-eviction-order-policy") as never,
      },
    });
    controller.setEndpointCount(this.#endpoints, this.#nowMs);
    return controller;
  }

  /** It takes no place of others if it is let through at once. */
  #enter(request: QueuedRequest, saturation: number): void {
    this.advance(0);
    this.#enqueue(request, "later");
    this.dispatch(saturation);
    const displaced = this.#controller.settleRoom(this.#nowMs);
    const isWaiting = this.#waiting.has(request.requestId);
    assert(isWaiting || displaced.length === 0, "a request displaces others and does not wait");
    this.#displaced(request, displaced);
  }

  #displaced(request: QueuedRequest, displaced: readonly Ejected[]): void {
    for (const each of displaced)
      assert(
        each.request.priority < request.priority,
        "a request is displaced by none of a higher priority",
      );
    this.#tell(displaced);
  }

  #enqueue(request: QueuedRequest, displaces: "now" | "later" = "now"): void {
    const answer = this.#controller.enqueue(request, this.#nowMs, displaces);
    if (answer.ok) {
      this.#displaced(request, answer.displaced);
      this.#waiting.set(request.requestId, { request, enqueuedAtMs: this.#nowMs });
    } else {
      this.#ended(request, answer.reason);
    }
  }

  #tell(ejected: readonly Ejected[]): void {
    for (const { request, reason } of ejected) {
      assert(this.#waiting.has(request.requestId), "one that does not wait is ejected");
      this.#ended(request, reason);
    }
  }

  #ended(request: QueuedRequest, end: End): void {
    assert(!this.#ends.has(request.requestId), "a request ends twice");
    this.#ends.set(request.requestId, end);
    this.#waiting.delete(request.requestId);
  }

  #settle(request: QueuedRequest, share: number): void {
    const usage = {
      promptTokens: request.promptTokens,
      uncachedTokens: share * request.uncachedTokens,
      outputTokens: share * request.outputTokens,
    };
    const ended = { nowMs: this.#nowMs, usage };
    assert(
      this.#controller.settled(request.requestId, request.attempt, ended),
      "a request that ends is not known",
    );
    assert(
      !this.#controller.settled(request.requestId, request.attempt, ended),
      "a request is settled twice",
    );
    this.#inFlight.delete(request.requestId);
  }

  #forget(request: QueuedRequest): void {
    this.#inFlight.delete(request.requestId);
  }
}

function pick<Item>(items: readonly Item[], at: number): Item | undefined {
  return items[at % Math.max(1, items.length)];
}

function scramble({ requestId }: QueuedRequest, seed: number): number {
  return Math.imul(Number(requestId.slice(1)) + seed, 0x9e3779b1) >>> 0;
}

type Step = (scene: Scene) => void;

const enqueue: fc.Arbitrary<Step> = fc
  .record({
    flow: fc.nat(5),
    priority: fc.constantFrom(-2, -1, 0, 0, 5, 10),
    bytes: fc.integer({ min: 100, max: 8_000 }),
    ttlMs: fc.option(fc.integer({ min: 1, max: 4_000 }), { freq: 5 }),
    saturation: fc.option(fc.constantFrom(0, 1), { freq: 1 }),
  })
  .map((facts) => (scene) => scene.enqueue(facts));
const dispatch: fc.Arbitrary<Step> = fc
  .constantFrom(0, 0.5, 0.99, 1, 2)
  .map((saturation) => (scene) => scene.dispatch(saturation));
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: enqueue, weight: 10 },
  { arbitrary: dispatch, weight: 8 },
  {
    arbitrary: fc.nat(99).map(
      (at): Step =>
        (scene) =>
          scene.cancel(at),
    ),
    weight: 2,
  },
  {
    arbitrary: fc.tuple(fc.nat(99), fc.boolean()).map(
      ([at, isCancelled]): Step =>
        (scene) =>
          scene.complete(at, isCancelled),
    ),
    weight: 4,
  },
  { arbitrary: fc.constant<Step>((scene) => scene.evict()), weight: 2 },
  {
    arbitrary: fc.nat(2_000).map(
      (ms): Step =>
        (scene) =>
          scene.advance(ms),
    ),
    weight: 3,
  },
  {
    arbitrary: fc.nat(2).map(
      (count): Step =>
        (scene) =>
          scene.setEndpoints(count),
    ),
    weight: 1,
  },
  {
    arbitrary: fc.boolean().map(
      (isBlind): Step =>
        (scene) =>
          scene.setBlind(isBlind),
    ),
    weight: 1,
  },
  {
    arbitrary: fc.nat(1_000).map(
      (seed): Step =>
        (scene) =>
          scene.restart(seed),
    ),
    weight: 1,
  },
);

describe.for(pluginsOfKind("fairness-policy").map(({ type }) => ({ type })))(
  "$type",
  ({ type }) => {
    it("loses nobody and tells nobody twice, whatever happens in whatever order", () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
          const scene = new Scene(createPlugin(type) as FairnessPolicy);
          for (const each of steps) {
            each(scene);
            scene.check();
          }
          const { waiting, inFlight } = scene.finish();
          const counts = { ...waiting, inFlight };
          expect(counts).toEqual({ requests: 0, bytes: 0, tokens: 0, inFlight: 0 });
        }),
        { numRuns: 40 },
      );
    });
  },
);
