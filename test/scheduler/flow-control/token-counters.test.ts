// The bound of VTC, over random arrivals: of two flows that both wait all the time, neither is ahead of the
// other by more than twice the largest request's cost by weight.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QueuedRequest } from "../../../src/scheduler/flow-control/contracts.ts";
import { TokenCounters } from "../../../src/scheduler/flow-control/token-counters.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { createController, fairnessOf, NOW_MS, queued } from "../support/flow-control.ts";

const OUTPUT_WEIGHT = 2;
const costOf = ({ uncachedTokens, outputTokens }: QueuedRequest) =>
  Math.max(1, uncachedTokens + OUTPUT_WEIGHT * outputTokens);

const flowFacts = fc.record({
  weight: fc.constantFrom(0.5, 1, 2, 5),
  inputMax: fc.integer({ min: 1, max: 20_000 }),
  outputMax: fc.integer({ min: 0, max: 2_000 }),
});

interface Served {
  /** The largest difference there was between what two flows had been served, by weight. */
  readonly widest: number;
  /** The largest cost by weight of any flow's request. */
  readonly largest: number;
}

/** Flows that always have something waiting, after the first has been served alone for a while. */
function serve(
  flows: readonly { weight: number; inputMax: number; outputMax: number }[],
  seed: number,
  from = 0,
): Served {
  const rng = createRng(seed);
  const controller = createController({
    band: { fairness: fairnessOf("weighted-token-fairness") },
  });
  const byWeight = flows.map(() => 0);
  let widest = 0;
  const largest = Math.max(
    ...flows.map(
      ({ weight, inputMax, outputMax }) => (inputMax + OUTPUT_WEIGHT * outputMax) / weight,
    ),
  );
  const enqueue = (i: number) => {
    const { weight, inputMax, outputMax } = flows[i]!;
    const tokens = (max: number) => Math.floor(rng() * (max + 1));
    const uncachedTokens = tokens(inputMax);
    const outputTokens = tokens(outputMax);
    controller.enqueue(
      queued({ fairnessId: `${i}`, weight, uncachedTokens, outputTokens }),
      NOW_MS,
    );
  };
  for (let i = 0; i < from; i++) {
    enqueue(0);
    controller.next(NOW_MS, { saturation: 0 });
  }
  for (const i of flows.keys()) for (let n = 0; n < 2; n++) enqueue(i);
  for (let n = 0; n < 400; n++) {
    const request = controller.next(NOW_MS, { saturation: 0 })!;
    const i = Number(request.fairnessId);
    byWeight[i]! += costOf(request) / request.weight;
    enqueue(i);
    widest = Math.max(widest, Math.max(...byWeight) - Math.min(...byWeight));
  }
  return { widest, largest };
}

describe("the bound", () => {
  it("holds for flows of any requests and weights", () => {
    fc.assert(
      fc.property(
        fc.array(flowFacts, { minLength: 2, maxLength: 8 }),
        fc.integer(),
        fc.nat(20),
        (flows, seed, from) => {
          const { widest, largest } = serve(flows, seed, from);
          expect(widest).toBeLessThanOrEqual(2 * largest);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("a noisy flow among a hundred", () => {
  it("gets no more than its share, nor do the others get less", () => {
    const controller = createController({
      band: { fairness: fairnessOf("weighted-token-fairness") },
    });
    const rng = createRng(7);
    const enqueue = (i: number) => {
      const scale = i === 0 ? 10 : 1;
      const uncachedTokens = Math.floor(scale * (50 + rng() * 100));
      const facts = {
        fairnessId: `${i}`,
        uncachedTokens,
        outputTokens: 10 + Math.floor(rng() * 20),
      };
      controller.enqueue(queued(facts), NOW_MS);
    };
    for (let i = 0; i < 100; i++) enqueue(i);
    for (let n = 0; n < 9; n++) enqueue(0);
    const bound = 2 * (1_500 + OUTPUT_WEIGHT * 30);
    const served = new Float64Array(100);
    const requests = new Int32Array(100);
    const step = () => {
      const request = controller.next(NOW_MS, { saturation: 0 })!;
      const i = Number(request.fairnessId);
      served[i]! += costOf(request);
      requests[i]! += 1;
      enqueue(i);
      controller.settled(request.requestId, 0, { nowMs: NOW_MS });
    };
    while (Math.min(...served) < 100 * bound) for (let n = 0; n < 1_000; n++) step();
    const others = [...served.subarray(1)];
    expect(Math.max(...others) / Math.min(...others)).toBeLessThan(1.02);
    expect(controller.snapshot(NOW_MS).bands[0]!.jainIndex).toBeGreaterThan(0.99);
    expect(requests[0]! * 5).toBeLessThan(Math.min(...requests.subarray(1)));
  }, 60_000);
});

describe("TokenCounters", () => {
  const flow = (fairnessId: string) => ({
    fairnessId,
    weight: 1,
    waitingCount: 1,
    head: undefined,
  });

  it("lifts who comes back to the least of those that wait", () => {
    const counters = new TokenCounters(1);
    const [stays, leaves, comes] = ["s", "l", "c"].map(flow);
    counters.joined(stays!);
    counters.joined(leaves!);
    counters.reserve(stays!, queued({ uncachedTokens: 500, outputTokens: 0 }));
    counters.reserve(leaves!, queued({ uncachedTokens: 900, outputTokens: 0 }));
    counters.left(leaves!);
    counters.joined(comes!);
    expect(counters.waiting().find((counter) => counter.flow === comes)).toMatchObject({
      tokens: 500,
    });
    counters.left(stays!);
    counters.left(comes!);
    const late = flow("late");
    counters.joined(late);
    expect(counters.least).toMatchObject({ flow: late, tokens: 500 });
  });

  it("takes a correction of a flow that waits no more", () => {
    const counters = new TokenCounters(1);
    const only = flow("only");
    const request = queued({ uncachedTokens: 500, outputTokens: 0 });
    counters.joined(only);
    counters.reserve(only, request);
    counters.left(only);
    counters.settle(only, request, { promptTokens: 0, uncachedTokens: 0, outputTokens: 0 });
    expect(counters.least).toBeUndefined();
    counters.forget(only);
  });
});
