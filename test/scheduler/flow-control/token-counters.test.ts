// The bound of VTC, over random arrivals: of two flows that both wait all the time, neither is ahead of the
// other by more than twice the largest request's cost by weight. Of two that wait all the time, but may
// be away, nobody is served while further ahead of one that is there.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FlowView, QueuedRequest } from "../../../src/scheduler/flow-control/contracts.ts";
import { TokenCounters } from "../../../src/scheduler/flow-control/token-counters.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import {
  BandAlone,
  createController,
  fairnessOf,
  NOW_MS,
  queued,
} from "../support/flow-control.ts";

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

/** What may happen to flows in which something waits all the time. */
const awayStep = fc.record({
  kind: fc.constantFrom("serve", "serve", "away", "back", "arrive"),
  flow: fc.nat(7),
});

/** How far somebody was ahead who was served, of another that was there and waited, too. */
function serveAwayFlows(
  flows: readonly { weight: number; inputMax: number; outputMax: number }[],
  steps: readonly { kind: string; flow: number }[],
  seed: number,
): Served {
  const rng = createRng(seed);
  const alone = new BandAlone({ fairness: fairnessOf("weighted-token-fairness") });
  const { band } = alone;
  const byWeight = flows.map(() => 0);
  let [widest, largest] = [0, 0];
  const arrive = (i: number) => {
    const { weight, inputMax, outputMax } = flows[i]!;
    const tokens = (max: number) => Math.floor(rng() * (max + 1));
    const cost = { uncachedTokens: tokens(inputMax), outputTokens: tokens(outputMax) };
    const { request } = alone.enqueue({ fairnessId: `${i}`, weight, ...cost });
    largest = Math.max(largest, costOf(request) / weight);
  };
  const setAway = (i: number, isAway: boolean) => {
    for (const entry of band.entries())
      if (entry.flow === band.flowOf(`${i}`)) band.setAway(entry, isAway);
  };
  const serve = () => {
    const there = byWeight.filter((_, i) => band.flowOf(`${i}`).waitingCount > 0);
    const request = band.takeNext({ nowMs: NOW_MS })?.request;
    if (request === undefined) return;
    const i = Number(request.fairnessId);
    widest = Math.max(widest, byWeight[i]! - Math.min(...there));
    byWeight[i]! += costOf(request) / request.weight;
    const { waitingCount, awayCount } = band.flowOf(request.fairnessId);
    if (waitingCount + awayCount < 2) arrive(i);
  };
  for (const i of flows.keys()) for (let n = 0; n < 2; n++) arrive(i);
  for (const { kind, flow } of steps) {
    const i = flow % flows.length;
    if (kind === "arrive") arrive(i);
    else if (kind === "serve") for (let n = 0; n < 5; n++) serve();
    else setAway(i, kind === "away");
  }
  return { widest, largest };
}

describe("the bound of flows that are away now and then", () => {
  it("holds against each that is there", () => {
    fc.assert(
      fc.property(
        fc.array(flowFacts, { minLength: 2, maxLength: 8 }),
        fc.array(awayStep, { minLength: 50, maxLength: 100 }),
        fc.integer(),
        (flows, steps, seed) => {
          const { widest, largest } = serveAwayFlows(flows, steps, seed);
          expect(widest).toBeLessThanOrEqual(2 * largest);
        },
      ),
      { numRuns: 100 },
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

/** It says that something waits for as long as it has joined. */
class FlowAlone implements FlowView {
  readonly fairnessId: string;
  readonly weight = 1;
  readonly head = undefined;
  waitingCount = 0;
  awayCount = 0;
  readonly #counters: TokenCounters;

  constructor(counters: TokenCounters, fairnessId: string) {
    this.#counters = counters;
    this.fairnessId = fairnessId;
  }

  join(): this {
    const wasAway = this.awayCount > 0;
    [this.waitingCount, this.awayCount] = [1, 0];
    this.#counters.joined(this, wasAway);
    return this;
  }

  leave(isAway = false): this {
    [this.waitingCount, this.awayCount] = [0, isAway ? 1 : 0];
    this.#counters.left(this);
    return this;
  }

  take(uncachedTokens: number): this {
    this.#counters.reserve(this, queued({ uncachedTokens, outputTokens: 0 }));
    return this;
  }

  get tokens(): number | undefined {
    return this.#counters.of(this)?.tokens;
  }
}

function scene(...ids: readonly string[]) {
  const counters = new TokenCounters(1);
  return { counters, flows: ids.map((id) => new FlowAlone(counters, id)) };
}

describe("TokenCounters", () => {
  it("lifts who comes to the least of those that wait", () => {
    const [stays, leaves, comes, late] = scene("s", "l", "c", "late").flows;
    for (const flow of [stays!, leaves!]) flow.join();
    stays!.take(500);
    leaves!.take(900).leave();
    expect(comes!.join().tokens).toBe(500);
    stays!.leave();
    comes!.leave();
    expect(late!.join().tokens).toBe(500);
  });

  it("lifts who comes back, too, but for one that is ahead", () => {
    const [saves, stays, spends] = scene("saves", "stays", "spends").flows;
    for (const flow of [saves!, stays!, spends!]) flow.join();
    saves!.take(100).leave();
    spends!.take(9_000).leave();
    stays!.take(700);
    expect(saves!.join().tokens).toBe(700);
    expect(spends!.join().tokens).toBe(9_000);
    for (const flow of [saves!, spends!, stays!]) flow.leave();
    expect(saves!.join().tokens).toBe(700);
  });

  it("lifts nobody who was away, and lifts who left while away", () => {
    const [away, gone, stays] = scene("away", "gone", "stays").flows;
    for (const flow of [away!, gone!, stays!]) flow.join();
    away!.take(100).leave(true);
    gone!.take(100).leave(true).awayCount = 0;
    stays!.take(700);
    expect(gone!.join().tokens).toBe(700);
    expect(away!.join().tokens).toBe(100);
  });

  it("lets who was away have the turn it had", () => {
    const { counters, flows } = scene("first", "second");
    const [first, second] = flows.map((flow) => flow.join());
    first!.leave(true).join();
    expect(counters.least?.flow).toBe(first);
    first!.leave().join();
    expect(counters.least?.flow).toBe(second);
  });

  it("holds a debt against its flow whoever joins first, until it is served", () => {
    for (const order of [
      ["owes", "modest"],
      ["modest", "owes"],
    ]) {
      const { counters, flows } = scene(...order);
      counters.restore(new Map([["owes", 5_000]]));
      for (const flow of flows) flow.join();
      expect(counters.least?.flow.fairnessId).toBe("modest");
      expect([...counters.debts()]).toEqual([["owes", 5_000]]);
    }
    const { counters, flows } = scene("owes", "late");
    counters.restore(new Map([["owes", 5_000]]));
    flows[0]!.join().take(300);
    expect(flows[1]!.join().tokens).toBe(5_300);
  });

  it("tells a debt that nobody has joined for, until it is given up", () => {
    const { counters, flows } = scene("here");
    counters.restore(new Map([["absent", 5_000]]));
    flows[0]!.join().take(300);
    expect([...counters.debts()]).toEqual([["absent", 5_000]]);
    counters.restore(new Map());
    expect([...counters.debts()]).toEqual([]);
  });

  it("tells what flows owe one that is away", () => {
    const { counters, flows } = scene("away", "served", "left");
    const [away, served, left] = flows.map((flow) => flow.join());
    away!.take(100).leave(true);
    left!.take(200).leave();
    served!.take(900);
    expect([...counters.debts()]).toEqual([["served", 800]]);
    left!.join().take(600);
    left!.leave();
    expect(new Map(counters.debts())).toEqual(
      new Map([
        ["served", 800],
        ["left", 1_400],
      ]),
    );
  });

  it("takes a correction of a flow that waits no more", () => {
    const { counters, flows } = scene("only");
    const only = flows[0]!.join().take(500).leave();
    const request = queued({ uncachedTokens: 500, outputTokens: 0 });
    counters.settle(only, request, { promptTokens: 0, uncachedTokens: 0, outputTokens: 0 });
    expect(only.tokens).toBe(0);
    expect(counters.least).toBeUndefined();
    counters.forget(only);
    expect(only.tokens).toBeUndefined();
  });
});
