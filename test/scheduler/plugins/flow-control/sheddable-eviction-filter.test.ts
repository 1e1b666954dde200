import { expect, it } from "vitest";
import { sheddableEvictionFilter } from "../../../../src/scheduler/plugins/flow-control/sheddable-eviction-filter.ts";
import { NOW_MS, queued } from "../../support/flow-control.ts";
import { testWiring } from "../../support/plugins.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(sheddableEvictionFilter, {
  role: "eviction filter",
  stability: "alpha",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

it.for([
  { priority: -1, want: true },
  { priority: 0, want: false },
  { priority: 5, want: false },
])("says $want of priority $priority", ({ priority, want }) => {
  const policy = sheddableEvictionFilter.create({}, testWiring("x"));
  expect(policy.mayEvict({ request: queued({ priority }), dispatchedAtMs: NOW_MS })).toBe(want);
});
