import { describe, expect, it } from "vitest";
import type { TokenUsage } from "../../../src/scheduler/flow-control/contracts.ts";
import type { FlowController } from "../../../src/scheduler/flow-control/flow-controller.ts";
import { IN_FLIGHT_TTL_MS } from "../../../src/scheduler/flow-control/in-flight.ts";
import {
  createController,
  drain,
  fairnessOf,
  NOW_MS,
  orderingOf,
  queued,
  usageLimitOf,
} from "../support/flow-control.ts";
import { createPlugin } from "../support/plugins.ts";

const FULL = { saturation: 1 };
const IDLE = { saturation: 0 };
const SEEN = { lagMs: 0, freshSaturation: () => 1 };
const NOTHING: TokenUsage = { promptTokens: 0, uncachedTokens: 0, outputTokens: 0 };

/** llm-d's cases, by the names they have there (flowcontrol/integration_test.go). */
describe("as in llm-d", () => {
  it("SaturationFullLoop: nobody while the pool is full, everybody in order when it is not", () => {
    const controller = createController();
    const requests = Array.from({ length: 5 }, () => queued());
    for (const request of requests) controller.enqueue(request, NOW_MS);
    expect(controller.next(NOW_MS, FULL)).toBeUndefined();
    expect(controller.next(NOW_MS, { saturation: 0.99 })).toBe(requests[0]);
    expect(controller.next(NOW_MS, FULL)).toBeUndefined();
    expect(drain(controller)).toEqual(requests.slice(1).map(({ requestId }) => requestId));
  });

  it("DispatchOrderingSLODeadline: whose first token is due first", () => {
    const ordering = orderingOf("slo-deadline-ordering-policy");
    const controller = createController({ band: { ordering } });
    const [none, late, soon] = [{}, { ttftSloMs: 900 }, { ttftSloMs: 100 }].map(queued);
    for (const request of [none!, late!, soon!]) controller.enqueue(request, NOW_MS);
    expect(drain(controller)).toEqual([soon, late, none].map((request) => request!.requestId));
  });

  it("PriorityBackpressure: a lower band waits while a higher one is held back", () => {
    const controller = createController();
    const low = queued({ priority: 0 });
    const high = queued({ priority: 10 });
    for (const request of [low, high]) controller.enqueue(request, NOW_MS);
    expect(controller.next(NOW_MS, FULL)).toBeUndefined();
    expect(drain(controller)).toEqual([high.requestId, low.requestId]);
  });

  it("FairnessRoundRobin: flows in turn", () => {
    const fairness = fairnessOf("round-robin-fairness-policy");
    const controller = createController({ band: { fairness } });
    for (const fairnessId of ["a", "a", "a", "b", "b"])
      controller.enqueue(queued({ fairnessId }), NOW_MS);
    const order = Array.from({ length: 5 }, () => controller.next(NOW_MS, IDLE)!.fairnessId);
    expect(order).toEqual(["a", "b", "a", "b", "a"]);
  });

  it("UsageLimitThresholdGatesDispatch: a ceiling of one half", () => {
    const usageLimit = usageLimitOf("static-usage-limit-policy", { threshold: 0.5 });
    const controller = createController({ usageLimit });
    controller.enqueue(queued(), NOW_MS);
    expect(controller.next(NOW_MS, { saturation: 0.5 })).toBeUndefined();
    expect(controller.next(NOW_MS, { saturation: 0.49 })).toBeDefined();
  });

  it("GlobalAndBandCapacityInteraction: the first bound that is met refuses", () => {
    const controller = createController({
      limits: { requests: 3, bytes: Infinity, tokens: Infinity },
      bands: { 0: { limits: { requests: 2 } }, 1: { limits: { requests: 2 } } },
    });
    const answers = [0, 0, 0, -1, -1].map((priority) => {
      const answer = controller.enqueue(queued({ priority }), NOW_MS);
      return answer.ok ? "ok" : answer.reason;
    });
    expect(answers).toEqual(["ok", "ok", "rejected-saturated", "ok", "rejected-saturated"]);
  });

  it("ByteCapacityEnforcement: bytes count as requests do, and come free again", () => {
    const controller = createController({ band: { limits: { bytes: 1_000 } } });
    const [first, second] = [queued({ bytes: 600 }), queued({ bytes: 600 })];
    expect(controller.enqueue(first, NOW_MS).ok).toBe(true);
    expect(controller.enqueue(second, NOW_MS)).toMatchObject({ reason: "rejected-saturated" });
    drain(controller);
    expect(controller.enqueue(second, NOW_MS).ok).toBe(true);
  });

  it("EmptyPoolRejectsAsNoEndpoints: a full queue of an empty pool is unavailability", () => {
    const controller = createController({
      band: { limits: { requests: 1 } },
      endpointCount: 0,
    });
    controller.enqueue(queued(), NOW_MS);
    expect(controller.enqueue(queued(), NOW_MS)).toMatchObject({
      reason: "rejected-no-endpoints",
      retryAfterMs: 5_000,
    });
  });

  it("EvictionPipeline: somebody of a lower priority makes room for who is held back", () => {
    const controller = createController({ eviction });
    const sheddable = [1, 2, 3].map(() => queued({ priority: -1 }));
    for (const request of sheddable) controller.enqueue(request, NOW_MS);
    expect(drain(controller)).toHaveLength(3);
    controller.enqueue(queued({ priority: 5 }), NOW_MS);
    expect(controller.next(NOW_MS, FULL)).toBeUndefined();
    const [victim, ...others] = controller.evictions(NOW_MS, SEEN);
    expect(others).toEqual([]);
    expect(victim).toMatchObject({ reason: "evicted" });
    expect(sheddable).toContain(victim!.request);
    expect(controller.evictions(NOW_MS, SEEN)).toEqual([]);
    const ended = { nowMs: NOW_MS, usage: NOTHING };
    expect(controller.settled(victim!.request.requestId, 0, ended)).toBe(true);
    expect(controller.next(NOW_MS, { saturation: 0.7 })).toMatchObject({ priority: 5 });
    expect(controller.evictions(NOW_MS, SEEN)).toEqual([]);
    controller.enqueue(queued({ priority: 5 }), NOW_MS);
    controller.next(NOW_MS, FULL);
    expect(controller.evictions(NOW_MS, SEEN)).toHaveLength(1);
  });

  it("TTLExpiryEvictsQueuedRequest: after its time, not before", () => {
    const controller = createController({ band: { ttlMs: 1_000 } });
    const request = queued();
    controller.enqueue(request, NOW_MS);
    expect(controller.advance(NOW_MS + 999)).toEqual([]);
    expect(controller.advance(NOW_MS + 1_016)).toMatchObject([
      { request, reason: "rejected-ttl-expired" },
    ]);
    expect(controller.waitingCount).toBe(0);
  });

  it("CallerContextCancellationEvictsRequest: at once, and only once", () => {
    const controller = createController();
    const request = queued();
    controller.enqueue(request, NOW_MS);
    expect(controller.cancel(request.requestId, 1, NOW_MS)).toBeUndefined();
    expect(controller.cancel(request.requestId, 0, NOW_MS)).toMatchObject({
      reason: "rejected-context-cancelled",
    });
    expect(controller.cancel(request.requestId, 0, NOW_MS)).toBeUndefined();
    expect(drain(controller)).toEqual([]);
  });

  it("ConcurrentEnqueueDuringShutdown: who comes later is refused", () => {
    const controller = createController();
    controller.shutDown(NOW_MS);
    expect(controller.enqueue(queued(), NOW_MS)).toMatchObject({
      reason: "rejected-shutting-down",
    });
  });

  it("GracefulShutdownDrainsQueuedRequests: everybody is told, and what is in flight goes on", () => {
    const controller = createController();
    const requests = [queued(), queued({ priority: 3 }), queued()];
    for (const request of requests) controller.enqueue(request, NOW_MS);
    const running = controller.next(NOW_MS, IDLE)!;
    const ejected = controller.shutDown(NOW_MS);
    expect(ejected.map(({ request }) => request)).toEqual([requests[0], requests[2]]);
    expect(new Set(ejected.map(({ reason }) => reason))).toEqual(
      new Set(["rejected-shutting-down"]),
    );
    expect(controller.settled(running.requestId, 0, { nowMs: NOW_MS })).toBe(true);
  });

  it("ZombieCapacityStarvation: whoever has left takes up no room, not for a moment", () => {
    const controller = createController({ band: { limits: { requests: 10 } } });
    for (let round = 0; round < 50; round++) {
      const requests = Array.from({ length: 10 }, () => queued());
      for (const request of requests) expect(controller.enqueue(request, NOW_MS).ok).toBe(true);
      for (const { requestId } of requests) controller.cancel(requestId, 0, NOW_MS);
    }
    expect(controller.snapshot(NOW_MS).waiting).toEqual({ requests: 0, bytes: 0, tokens: 0 });
  });

  it("NoEndpointBudgetShedsAsUnavailability: 503 and not 429", () => {
    const controller = createController({
      band: { ttlMs: 60_000, noEndpointTtlMs: 500 },
      endpointCount: 0,
    });
    controller.enqueue(queued(), NOW_MS);
    expect(controller.next(NOW_MS, IDLE)).toBeUndefined();
    expect(controller.advance(NOW_MS + 600)).toMatchObject([{ reason: "rejected-no-endpoints" }]);
  });

  it("NoEndpointBudgetOutlastingSaturation: a request waits for the first endpoint longer than for room", () => {
    const controller = createController({
      band: { ttlMs: 1_000, noEndpointTtlMs: 300_000 },
      endpointCount: 0,
    });
    controller.enqueue(queued(), NOW_MS);
    expect(controller.advance(NOW_MS + 250_000)).toEqual([]);
    controller.setEndpointCount(1, NOW_MS + 250_000);
    expect(controller.advance(NOW_MS + 250_900)).toEqual([]);
    expect(controller.advance(NOW_MS + 251_100)).toMatchObject([
      { reason: "rejected-ttl-expired" },
    ]);
  });

  it("ScaleFromZeroOutlivesSaturationBudget: it is let through when the endpoint is there", () => {
    const controller = createController({
      band: { ttlMs: 1_000, noEndpointTtlMs: 300_000 },
      endpointCount: 0,
    });
    const request = queued();
    controller.enqueue(request, NOW_MS);
    expect(controller.next(NOW_MS + 200_000, IDLE)).toBeUndefined();
    controller.setEndpointCount(1, NOW_MS + 200_000);
    expect(controller.next(NOW_MS + 200_000, IDLE)).toBe(request);
  });

  it("FlowControlMetricsEmitted: what happened is counted by band", () => {
    const controller = createController({ band: { limits: { requests: 2 } } });
    for (let i = 0; i < 3; i++) controller.enqueue(queued(), NOW_MS);
    controller.next(NOW_MS + 40, { saturation: 0.25 });
    const { bands, saturation, inFlight } = controller.snapshot(NOW_MS + 50);
    expect({ saturation, inFlight }).toEqual({ saturation: 0.25, inFlight: 1 });
    expect(bands).toMatchObject([
      {
        priority: 0,
        ceiling: 1,
        waiting: { requests: 1, bytes: 1_000, tokens: 1_100 },
        oldestWaitMs: 50,
        enqueued: 3,
        dispatched: 1,
        waitSumMs: 40,
        dropped: { "rejected-saturated": 1 },
        flows: [{ fairnessId: "a", waiting: 1, inFlight: 1, dispatched: 1, tokensLately: 1_200 }],
      },
    ]);
  });

  it("CapacityUtilizationOmitsUnsetGlobal: of a bound that there is not nothing is told", () => {
    const limits = { requests: 500, bytes: Infinity, tokens: Infinity };
    const snapshot = createController({ limits }).snapshot(NOW_MS);
    expect(snapshot.limits).toEqual({ requests: 500 });
    expect(snapshot.bands[0]!.limits).toEqual({});
  });

  it("HighConcurrencyFlowChurnNoDeadlock: flows come and go, everybody is served", () => {
    const controller = createController();
    let served = 0;
    for (let round = 0; round < 200; round++) {
      const nowMs = NOW_MS + round * 10_000;
      for (let i = 0; i < 20; i++)
        controller.enqueue(queued({ fairnessId: `f${round}-${i}` }), nowMs);
      for (const requestId of drain(controller, nowMs)) {
        served += controller.settled(requestId, 0, { nowMs }) ? 1 : 0;
      }
      controller.advance(nowMs);
    }
    expect(served).toBe(4_000);
    // Those of five minutes.
    expect(controller.snapshot(NOW_MS).bands[0]!.flowCount).toBeLessThanOrEqual(31 * 20);
  });

  it("EndpointChurnUnderLoad: nobody is lost while endpoints come and go", () => {
    const controller = createController({ band: { ttlMs: 60_000 } });
    const ends = new Map<string, number>();
    const count = (requestId: string) => ends.set(requestId, (ends.get(requestId) ?? 0) + 1);
    for (let step = 0; step < 300; step++) {
      const nowMs = NOW_MS + step * 500;
      controller.setEndpointCount(step % 3, nowMs);
      controller.enqueue(queued({ requestId: `c${step}`, receivedAtMs: nowMs }), nowMs);
      for (const { request } of controller.advance(nowMs)) count(request.requestId);
      if (step % 5 === 0) for (const requestId of drain(controller, nowMs)) count(requestId);
    }
    controller.setEndpointCount(1, NOW_MS + 150_000);
    for (const requestId of drain(controller, NOW_MS + 150_000)) count(requestId);
    expect(ends.size).toBe(300);
    expect([...ends.values()].every((times) => times === 1)).toBe(true);
  });
});

const eviction = {
  filter: createPlugin("sheddable-eviction-filter") as never,
  order: createPlugin("priority-then-time-eviction-order-policy") as never,
};

describe("a request that passed elsewhere", () => {
  it("is in flight, and charged to its flow as one that passed here", () => {
    const fairness = () => fairnessOf("weighted-token-fairness");
    const here = createController({ band: { fairness: fairness() } });
    const elsewhere = createController({ band: { fairness: fairness() } });
    const first = queued({ fairnessId: "a" });
    here.enqueue(first, NOW_MS);
    drain(here);
    expect(elsewhere.passed(first, NOW_MS)).toBe(true);
    for (const controller of [here, elsewhere]) {
      for (const fairnessId of ["a", "b", "b"]) controller.enqueue(queued({ fairnessId }), NOW_MS);
    }
    const orderOf = (controller: FlowController) =>
      Array.from({ length: 3 }, () => controller.next(NOW_MS, IDLE)!.fairnessId);
    expect(elsewhere.inFlightCount).toBe(1);
    expect(orderOf(elsewhere)).toEqual(orderOf(here));
  });

  it("does so also while others of its flow wait, who keep their turn", () => {
    for (const type of [
      "weighted-token-fairness",
      "locality-fairness",
      "round-robin-fairness-policy",
      "program-aware-fairness",
      "global-strict-fairness-policy",
    ] as const) {
      const controller = createController({ band: { fairness: fairnessOf(type) } });
      const waiting = ["a", "a", "b"].map((fairnessId) => queued({ fairnessId }));
      for (const request of waiting) controller.enqueue(request, NOW_MS);
      controller.passed(queued({ fairnessId: "a" }), NOW_MS);
      expect(controller.waitingCount).toBe(3);
      expect(drain(controller).toSorted()).toEqual(
        waiting.map(({ requestId }) => requestId).toSorted(),
      );
    }
  });

  it("is charged once, whatever is told", () => {
    const controller = createController();
    const request = queued();
    expect([controller.passed(request, NOW_MS), controller.passed(request, NOW_MS)]).toEqual([
      true,
      false,
    ]);
    const { requestId, attempt } = request;
    expect(controller.settled(requestId, attempt, { nowMs: NOW_MS, usage: NOTHING })).toBe(true);
    expect(controller.inFlightCount).toBe(0);
  });

  it("may be let through below the lowest ceiling", () => {
    const usageLimit = usageLimitOf("static-usage-limit-policy", { threshold: 0.5 });
    expect(createController({ usageLimit }).lowestCeiling(0)).toBe(0.5);
  });
});

describe("FlowController", () => {
  it("lets nobody wait twice for one request", () => {
    const controller = createController();
    const request = queued();
    for (let i = 0; i < 3; i++) expect(controller.enqueue(request, NOW_MS).ok).toBe(true);
    expect(drain(controller)).toEqual([request.requestId]);
    expect(controller.enqueue(request, NOW_MS).ok).toBe(true);
    expect(drain(controller)).toEqual([]);
  });

  it("gives a request that is enqueued again the place it had", () => {
    const controller = createController();
    const later = queued({ receivedAtMs: NOW_MS });
    const again = queued({ receivedAtMs: NOW_MS - 500, attempt: 1 });
    for (const request of [later, again]) controller.enqueue(request, NOW_MS);
    expect(drain(controller)).toEqual([again.requestId, later.requestId]);
  });

  it("makes room for a higher priority: the newest of the lowest band go first", () => {
    const controller = createController({
      limits: { requests: 3, bytes: 9_000, tokens: Infinity },
    });
    const lowest = [-2, -1].map((ageMs) => queued({ priority: -5, receivedAtMs: NOW_MS + ageMs }));
    const middle = queued({ priority: 0 });
    for (const request of [lowest[1]!, lowest[0]!, middle]) controller.enqueue(request, NOW_MS);
    const displacedBy = (priority: number, bytes = 1_000) => {
      const answer = controller.enqueue(queued({ priority, bytes }), NOW_MS);
      return answer.ok ? answer.displaced : answer.reason;
    };
    expect(displacedBy(10)).toMatchObject([
      { request: lowest[1], reason: "evicted-queue-pressure" },
    ]);
    expect(displacedBy(-5)).toBe("rejected-saturated");
    expect(displacedBy(10)).toMatchObject([{ request: lowest[0] }]);
    expect(displacedBy(10)).toMatchObject([{ request: middle }]);
    expect(displacedBy(10)).toBe("rejected-saturated");
    expect(controller.waitingCount).toBe(3);
  });

  it("sends several away for one that is larger, and nobody if that would not do", () => {
    const controller = createController({
      limits: { requests: 10, bytes: 4_000, tokens: Infinity },
    });
    for (let i = 0; i < 3; i++) controller.enqueue(queued({ priority: -1 }), NOW_MS);
    controller.enqueue(queued({ priority: 5 }), NOW_MS);
    expect(controller.enqueue(queued({ priority: 1, bytes: 3_500 }), NOW_MS).ok).toBe(false);
    expect(controller.waitingCount).toBe(4);
    const answer = controller.enqueue(queued({ priority: 1, bytes: 1_500 }), NOW_MS);
    expect(answer).toMatchObject({ ok: true, displaced: [{}, {}] });
  });

  describe("a request that displaces others later", () => {
    const limits = { requests: 10, bytes: 3_000, tokens: Infinity };
    const full = () => {
      const controller = createController({ limits });
      const low = [1, 2, 3].map((n) => queued({ priority: -1, receivedAtMs: NOW_MS + n - 9 }));
      for (const request of low) controller.enqueue(request, NOW_MS);
      return { controller, low };
    };
    const sizes = (controller: ReturnType<typeof createController>) =>
      controller.snapshot(NOW_MS).waiting.bytes;

    it("takes nobody's place if it is let through at once", () => {
      const { controller } = full();
      const high = queued({ priority: 1 });
      expect(controller.enqueue(high, NOW_MS, "later")).toEqual({ ok: true, displaced: [] });
      expect(sizes(controller)).toBe(4_000);
      expect(controller.next(NOW_MS, IDLE)).toBe(high);
      expect(controller.settleRoom(NOW_MS)).toEqual([]);
      expect(sizes(controller)).toBe(3_000);
    });

    it("takes them when it has to wait, once, and no more than are needed then", () => {
      const { controller, low } = full();
      const high = [queued({ priority: 2 }), queued({ priority: 1, bytes: 2_000 })];
      controller.enqueue(high[0]!, NOW_MS);
      controller.enqueue(high[1]!, NOW_MS, "later");
      expect(controller.next(NOW_MS, IDLE)).toBe(high[0]);
      const displaced = controller.settleRoom(NOW_MS);
      expect(displaced).toMatchObject([{ request: low[1], reason: "evicted-queue-pressure" }]);
      expect(sizes(controller)).toBe(3_000);
      expect(controller.settleRoom(NOW_MS)).toEqual([]);
      expect(drain(controller)).toEqual([high[1]!.requestId, low[0]!.requestId]);
    });

    it("is one at a time", () => {
      const { controller, low } = full();
      const [first, second] = [queued({ priority: 1 }), queued({ priority: 1 })];
      controller.enqueue(first, NOW_MS, "later");
      const answer = controller.enqueue(second, NOW_MS, "later");
      expect(answer).toMatchObject({ displaced: [{ request: low[2] }, { request: low[1] }] });
      expect(controller.settleRoom(NOW_MS)).toEqual([]);
      expect(sizes(controller)).toBe(3_000);
      controller.enqueue(queued({ priority: 5 }), NOW_MS, "later");
      expect(controller.settleRoom(NOW_MS)).toMatchObject([{ request: low[0] }]);
    });

    it("is refused where nobody could be displaced", () => {
      const { controller } = full();
      const refused = controller.enqueue(queued({ priority: -1 }), NOW_MS, "later");
      expect(refused).toMatchObject({ reason: "rejected-saturated" });
    });

    it("leaves everybody where they are if it has left by then", () => {
      const { controller, low } = full();
      const high = queued({ priority: 1 });
      controller.enqueue(high, NOW_MS, "later");
      controller.cancel(high.requestId, 0, NOW_MS);
      const next = controller.enqueue(queued({ priority: 1 }), NOW_MS, "later");
      expect(next).toEqual({ ok: true, displaced: [] });
      expect(controller.settleRoom(NOW_MS)).toMatchObject([{ request: low[2] }]);
    });
  });

  it("tells a request that never fits not to try again", () => {
    const controller = createController({ band: { limits: { tokens: 500 } } });
    expect(controller.enqueue(queued(), NOW_MS)).toMatchObject({
      reason: "rejected-saturated",
      retryAfterMs: 0,
    });
  });

  it("says when to come again from how fast the band is served", () => {
    const controller = createController({ band: { limits: { requests: 100 } } });
    for (let i = 0; i < 100; i++) controller.enqueue(queued(), NOW_MS);
    const retryAfterMs = (nowMs: number) => {
      const answer = controller.enqueue(queued(), nowMs);
      return answer.ok ? undefined : answer.retryAfterMs;
    };
    let nowMs = NOW_MS;
    for (let i = 0; i < 200; i++) {
      nowMs += 100;
      controller.next(nowMs, IDLE);
      controller.enqueue(queued(), nowMs);
    }
    expect(retryAfterMs(nowMs)).toBeGreaterThan(9_500);
    expect(retryAfterMs(nowMs)).toBeLessThan(10_500);
    expect(retryAfterMs(nowMs + 600_000)).toBe(60_000);
  });

  it("does not take those who never waited for a sign of how fast it is served", () => {
    const controller = createController({ band: { limits: { requests: 10 } } });
    for (let i = 0; i < 500; i++) {
      controller.enqueue(queued(), NOW_MS);
      controller.next(NOW_MS, IDLE);
    }
    for (let i = 0; i < 10; i++) controller.enqueue(queued(), NOW_MS);
    for (let second = 1; second <= 5; second++) {
      controller.next(NOW_MS + 1_000 * second, IDLE);
      controller.enqueue(queued(), NOW_MS + 1_000 * second);
    }
    const refused = controller.enqueue(queued(), NOW_MS + 5_000);
    expect(refused).toMatchObject({ ok: false });
    expect(refused).toHaveProperty("retryAfterMs", expect.closeTo(10_000, -3));
  });

  it("takes the client's word for how long it waits where that is shorter", () => {
    const controller = createController({ band: { ttlMs: 10_000, noEndpointTtlMs: 10_000 } });
    const [brief, long] = [queued({ ttlMs: 200 }), queued({ ttlMs: 99_000 })];
    for (const request of [brief, long]) controller.enqueue(request, NOW_MS);
    expect(controller.wakeAtMs).toBeLessThanOrEqual(NOW_MS + 216);
    expect(controller.advance(NOW_MS + 300).map(({ request }) => request)).toEqual([brief]);
    controller.setEndpointCount(0, NOW_MS + 5_000);
    expect(controller.advance(NOW_MS + 12_000)).toEqual([]);
    expect(controller.advance(NOW_MS + 15_100).map(({ request }) => request)).toEqual([long]);
  });

  it("keeps nobody for ever whose pool comes and goes", () => {
    const controller = createController({ band: { ttlMs: 1_000, noEndpointTtlMs: 2_000 } });
    controller.enqueue(queued(), NOW_MS);
    let ejectedAtMs = 0;
    for (let ms = 0; ms < 10_000 && ejectedAtMs === 0; ms += 500) {
      controller.setEndpointCount((ms / 500) % 2, NOW_MS + ms);
      if (controller.advance(NOW_MS + ms).length > 0) ejectedAtMs = ms;
    }
    expect(ejectedAtMs).toBeGreaterThan(2_500);
    expect(ejectedAtMs).toBeLessThanOrEqual(3_500);
  });

  it("gives nobody time anew for the first that is told of a pool", () => {
    for (const [count, ttls] of [
      [1, { ttlMs: 1_000, noEndpointTtlMs: 99_000 }],
      [0, { ttlMs: 99_000, noEndpointTtlMs: 1_000 }],
    ] as const) {
      const controller = createController({ band: ttls, endpointCount: null });
      expect(controller.regime).toBeUndefined();
      controller.enqueue(queued({ receivedAtMs: NOW_MS - 900 }), NOW_MS);
      controller.setEndpointCount(count, NOW_MS);
      expect(controller.advance(NOW_MS + 90)).toEqual([]);
      expect(controller.advance(NOW_MS + 120)).toHaveLength(1);
    }
  });

  it("takes over from the controller before whether the pool has endpoints, and since when", () => {
    const facts = { band: { ttlMs: 1_000, noEndpointTtlMs: 2_000, limits: { requests: 1 } } };
    const before = createController({ ...facts, endpointCount: 0 });
    before.setEndpointCount(1, NOW_MS + 500);
    const after = createController({ ...facts, endpointCount: null, regime: before.regime });
    expect(after.regime).toEqual({ hasEndpoints: true, changedAtMs: NOW_MS + 500 });
    after.enqueue(queued(), NOW_MS + 900);
    const refused = after.enqueue(queued(), NOW_MS + 900);
    expect(refused).toMatchObject({ reason: "rejected-saturated" });
    after.setEndpointCount(1, NOW_MS + 900);
    expect(after.advance(NOW_MS + 1_490)).toEqual([]);
    expect(after.advance(NOW_MS + 1_520)).toMatchObject([{ reason: "rejected-ttl-expired" }]);
  });

  it("holds low bands back before the pool is full", () => {
    const usageLimit = usageLimitOf("priority-holdback-policy", { minCeiling: 0.5 });
    const controller = createController({ usageLimit, bands: { 10: {} } });
    for (const priority of [0, 0, 10]) controller.enqueue(queued({ priority }), NOW_MS);
    expect(controller.next(NOW_MS, { saturation: 0.6 })).toMatchObject({ priority: 10 });
    expect(controller.next(NOW_MS, { saturation: 0.6 })).toBeUndefined();
    expect(controller.next(NOW_MS, { saturation: 0.4 })).toMatchObject({ priority: 0 });
    expect(controller.snapshot(NOW_MS).bands.map(({ ceiling }) => ceiling)).toEqual([1, 0.5]);
  });

  it("moves nobody's ceiling for a stray priority, but while it waits", () => {
    const usageLimit = usageLimitOf("priority-holdback-policy", { minCeiling: 0.5 });
    const controller = createController({ usageLimit, bands: { 10: {} } });
    controller.enqueue(queued({ priority: 0 }), NOW_MS);
    const stray = queued({ priority: -9 });
    controller.enqueue(stray, NOW_MS);
    controller.next(NOW_MS, FULL);
    const ceilings = () => controller.snapshot(NOW_MS).bands.map(({ ceiling }) => ceiling);
    expect(ceilings()).toEqual([1, 0.75, 0.5]);
    controller.cancel(stray.requestId, 0, NOW_MS);
    controller.next(NOW_MS, FULL);
    expect(ceilings()).toEqual([1, 0.5, null]);
  });

  it.for([
    { keys: new Uint32Array(2 * 128 + 2) },
    { weight: 0 },
    { bytes: Number.NaN },
    { uncachedTokens: -1 },
    { outputTokens: Infinity },
    { priority: Number.NaN },
    { receivedAtMs: Number.NaN },
    { ttlMs: Number.NaN },
    { ttlMs: -1 },
  ])("takes no request that would spoil its counts: %o", (facts) => {
    const controller = createController();
    expect(() => controller.enqueue(queued(facts), NOW_MS)).toThrow("invariant broken");
    controller.enqueue(queued(), NOW_MS);
    expect(drain(controller)).toHaveLength(1);
  });

  it("takes a usage that is none for what was expected", () => {
    const controller = createController();
    const request = queued();
    controller.enqueue(request, NOW_MS);
    drain(controller);
    const usage = { ...NOTHING, outputTokens: Number.NaN };
    controller.settled(request.requestId, 0, { nowMs: NOW_MS, usage });
    const [flow] = controller.snapshot(NOW_MS).bands[0]!.flows;
    expect(flow).toMatchObject({ inFlight: 0, tokensLately: 1_200 });
  });

  it("takes a saturation that is no number for a full pool", () => {
    const controller = createController();
    controller.enqueue(queued(), NOW_MS);
    expect(controller.next(NOW_MS, { saturation: Number.NaN })).toBeUndefined();
  });

  it("hands over who waits to a controller of another configuration", () => {
    const before = createController();
    for (let i = 0; i < 4; i++) before.enqueue(queued({ receivedAtMs: NOW_MS - i }), NOW_MS);
    before.next(NOW_MS, IDLE);
    const after = createController();
    for (const request of before.waitingRequests()) after.enqueue(request, NOW_MS);
    expect(drain(after)).toEqual(drain(before));
  });

  it("hands over what flows owe to it, too, whoever waits there first", () => {
    for (const isReversed of [false, true]) {
      const before = createController();
      const greedy = queued({ fairnessId: "greedy", uncachedTokens: 50_000 });
      const ids = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? "greedy" : "modest"));
      const others = ids.map((fairnessId) => queued({ fairnessId }));
      for (const request of [greedy, ...others]) before.enqueue(request, NOW_MS);
      expect(before.next(NOW_MS, IDLE)).toBe(greedy);
      const after = createController();
      after.restoreDebts(before.debts(), NOW_MS);
      const waiting = before.waitingRequests();
      for (const request of isReversed ? waiting.toReversed() : waiting)
        after.enqueue(request, NOW_MS);
      const order = Array.from({ length: 5 }, () => after.next(NOW_MS, IDLE)!.fairnessId);
      expect(new Set(order)).toEqual(new Set(["modest"]));
    }
  });

  it("remembers what flows owe over a restart", () => {
    const before = createController();
    before.enqueue(queued({ fairnessId: "greedy", uncachedTokens: 50_000 }), NOW_MS);
    before.enqueue(queued({ fairnessId: "modest" }), NOW_MS);
    for (let i = 0; i < 2; i++) before.next(NOW_MS, IDLE);
    for (const fairnessId of ["modest", "greedy"]) before.enqueue(queued({ fairnessId }), NOW_MS);
    const debts = before.debts();
    expect(debts).toEqual([{ priority: 0, fairnessId: "greedy", tokens: 49_000 }]);
    const after = createController();
    after.restoreDebts(debts, NOW_MS);
    for (let i = 0; i < 10; i++)
      for (const fairnessId of ["modest", "greedy"]) after.enqueue(queued({ fairnessId }), NOW_MS);
    const order = Array.from({ length: 10 }, () => after.next(NOW_MS, IDLE)!.fairnessId);
    expect(new Set(order)).toEqual(new Set(["modest"]));
  });

  it("ends nobody who has emitted a byte, and nobody for one of the same priority", () => {
    const controller = createController({ eviction });
    const [first, second] = [queued({ priority: -1 }), queued({ priority: -1 })];
    for (const request of [first, second]) controller.enqueue(request, NOW_MS);
    drain(controller);
    controller.started(second.requestId, 0);
    controller.enqueue(queued({ priority: -1 }), NOW_MS);
    controller.next(NOW_MS, FULL);
    expect(controller.evictions(NOW_MS, SEEN)).toEqual([]);
    controller.enqueue(queued({ priority: 0 }), NOW_MS);
    controller.next(NOW_MS, FULL);
    expect(controller.evictions(NOW_MS, SEEN).map(({ request }) => request)).toEqual([first]);
  });

  it("holds what a request has really taken against its flow, or for it", () => {
    const controller = createController();
    for (let i = 0; i < 3; i++)
      for (const fairnessId of ["a", "b"]) controller.enqueue(queued({ fairnessId }), NOW_MS);
    const [first, second] = [1, 2].map(() => controller.next(NOW_MS, IDLE)!);
    const usage = { ...NOTHING, outputTokens: 5_000 };
    controller.settled(first!.requestId, 0, { nowMs: NOW_MS, usage });
    controller.settled(second!.requestId, 0, { nowMs: NOW_MS, usage: NOTHING });
    const order = [1, 2, 3, 4].map(() => controller.next(NOW_MS, IDLE)!.fairnessId);
    expect(order).toEqual(["b", "b", "a", "a"]);
  });

  it("counts a request that never ends as ended after an hour", () => {
    const controller = createController();
    const request = queued();
    controller.enqueue(request, NOW_MS);
    drain(controller);
    controller.advance(NOW_MS + IN_FLIGHT_TTL_MS - 1);
    expect(controller.inFlightCount).toBe(1);
    controller.advance(NOW_MS + IN_FLIGHT_TTL_MS);
    expect(controller.inFlightCount).toBe(0);
    expect(controller.settled(request.requestId, 0, { nowMs: NOW_MS })).toBe(false);
  });
});
