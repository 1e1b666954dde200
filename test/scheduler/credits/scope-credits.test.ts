// What credits are for: no endpoint's bound on what runs at once is exceeded by more than the credits
// outstanding, since it was last within the bound.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PoolModel, TTL_MS } from "./pool-model.ts";

const which = fc.nat({ max: 1_000 });
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant("pickLocally" as const), which }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("consult" as const), which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("end" as const), which }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("sync" as const),
      which,
      withCommits: fc.boolean(),
      lost: fc.constantFrom("no" as const, "no" as const, "ask" as const, "answer" as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("tellLead" as const), which, arrives: fc.boolean() }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.oneof(fc.nat({ max: 200 }), fc.nat({ max: TTL_MS })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("restartIsolate" as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restartShard" as const), which }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const models = fc
  .record({
    bounds: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
    shards: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 4 })),
    isolates: fc.integer({ min: 1, max: 6 }),
  })
  .map(
    ({ bounds, shards, isolates }) =>
      () =>
        new PoolModel(bounds, shards, isolates),
  );

/** Whether an isolate has decided alone. */
function take(model: PoolModel, one: Step): boolean {
  switch (one.do) {
    case "wait":
      model.wait(one.ms);
      return false;
    case "sync":
      model.sync(one.which, one);
      return false;
    case "tellLead":
      model.tellLead(one.which, one.arrives);
      return false;
    case "pickLocally":
      return model.pickLocally(one.which);
    case "consult":
    case "end":
    case "restartIsolate":
    case "restartShard":
      model[one.do](one.which);
      return false;
  }
}

/** Rounds in which everybody asks, so that there is credit to begin with. */
function settle(model: PoolModel): void {
  for (let round = 0; round < 6; round++) {
    model.wait(TTL_MS / 3);
    model.shards.forEach((_, index) => model.tellLead(index, true));
    model.isolates.forEach((_, index) => model.sync(index, { withCommits: true, lost: "no" }));
  }
}

describe("a pool of shards, with isolates that decide alone", () => {
  it("exceeds no endpoint's bound by more than the credits outstanding, in any run", () => {
    let local = 0;
    let over = 0;
    fc.assert(
      fc.property(models, fc.array(step, { maxLength: 150, size: "max" }), (create, steps) => {
        const model = create();
        settle(model);
        const most = model.bounds.map((_, endpoint) => model.outstanding(endpoint));
        for (const one of steps) {
          const before = model.bounds.map((_, endpoint) => model.outstanding(endpoint));
          if (take(model, one)) local += 1;
          expect(model.mostOfRoom()).toBeLessThanOrEqual(1);
          model.bounds.forEach((bound, endpoint) => {
            const outstanding = Math.max(before[endpoint]!, model.outstanding(endpoint));
            const excess = model.running(endpoint) - bound;
            most[endpoint] = excess <= 0 ? outstanding : Math.max(most[endpoint]!, outstanding);
            expect(excess).toBeLessThanOrEqual(most[endpoint]);
            if (excess > 0) over += 1;
          });
        }
      }),
      { numRuns: 1_500 },
    );
    // The runs are of the kind that the bound is about.
    expect(local).toBeGreaterThan(1_000);
    expect(over).toBeGreaterThan(100);
  }, 60_000);

  it("exceeds none at all where one isolate decides and nothing is lost", () => {
    fc.assert(
      fc.property(fc.array(which, { maxLength: 60 }), (order) => {
        const model = new PoolModel([4, 4], 1, 1);
        settle(model);
        for (const index of order) {
          if (index % 3 === 0) model.end(index);
          model.pickLocally(index);
          model.sync(index, { withCommits: true, lost: "no" });
          model.tellLead(0, true);
          model.wait(20);
          for (const endpoint of [0, 1]) expect(model.running(endpoint)).toBeLessThanOrEqual(4);
        }
      }),
      { numRuns: 200 },
    );
  });
});
