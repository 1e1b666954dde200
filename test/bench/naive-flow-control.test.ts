// The naive list is the oracle: both serve the same requests in the same order.

import fc from "fast-check";
import { expect, it } from "vitest";
import { NaiveFlowControl } from "../../bench/naive-flow-control.ts";
import { createController, drain, NOW_MS, queued } from "../scheduler/support/flow-control.ts";

const facts = fc.record({
  fairnessId: fc.constantFrom("a", "b", "c", "d"),
  priority: fc.integer({ min: -1, max: 2 }),
  // Costs that differ, or whose turn it is among equals would decide.
  uncachedTokens: fc.integer({ min: 1, max: 1_000_000 }),
});

it("serves what the controller serves, where every flow begins to wait at the same time", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(facts, { selector: ({ uncachedTokens }) => uncachedTokens, maxLength: 60 }),
      (requests) => {
        const controller = createController();
        const naive = new NaiveFlowControl();
        for (const [i, request] of requests.entries()) {
          const same = queued({ ...request, outputTokens: 0, receivedAtMs: NOW_MS - 1_000 + i });
          controller.enqueue(same, NOW_MS);
          naive.enqueue(same);
        }
        const order = Array.from({ length: naive.size }, () => naive.next()!.requestId);
        expect(drain(controller)).toEqual(order);
      },
    ),
  );
});

it("lets those leave who are told to", () => {
  const naive = new NaiveFlowControl();
  const [stays, leaves] = [queued(), queued()];
  for (const request of [stays, leaves]) naive.enqueue(request);
  naive.cancel(leaves.requestId);
  expect([naive.next(), naive.next()]).toEqual([stays, undefined]);
});
