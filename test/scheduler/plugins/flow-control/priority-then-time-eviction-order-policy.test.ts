import { expect, it } from "vitest";
import { priorityThenTimeEvictionOrderPolicy } from "../../../../src/scheduler/plugins/flow-control/priority-then-time-eviction-order-policy.ts";
import { NOW_MS, queued } from "../../support/flow-control.ts";
import { testWiring } from "../../support/plugins.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(priorityThenTimeEvictionOrderPolicy, {
  role: "eviction ordering policy",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

it("ends the lowest priority first, and of it the newest", () => {
  const policy = priorityThenTimeEvictionOrderPolicy.create({}, testWiring("x"));
  const dispatched = [
    [-1, 30],
    [-2, 10],
    [-2, 20],
    [0, 40],
  ].map(([priority = 0, atMs = 0]) => ({
    request: queued({ priority }),
    dispatchedAtMs: NOW_MS + atMs,
  }));
  const order = dispatched.toSorted((a, b) => (policy.endsBefore(a, b) ? -1 : 1));
  expect(order.map((each) => dispatched.indexOf(each))).toEqual([2, 1, 0, 3]);
});
