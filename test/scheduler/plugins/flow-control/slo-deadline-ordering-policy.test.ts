import { expect, it } from "vitest";
import { sloDeadlineOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/slo-deadline-ordering-policy.ts";
import { BandAlone, NOW_MS, orderingOf } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(sloDeadlineOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

it("serves whose first token is due first; without a due time, or a silly one, last", () => {
  const band = new BandAlone({ ordering: orderingOf("slo-deadline-ordering-policy") });
  const none = band.enqueue({ receivedAtMs: NOW_MS - 50 });
  const silly = band.enqueue({ ttftSloMs: -1, receivedAtMs: NOW_MS - 40 });
  const late = band.enqueue({ ttftSloMs: 5_000 });
  const soon = band.enqueue({ ttftSloMs: 5_000, receivedAtMs: NOW_MS - 1_000 });
  const order = [1, 2, 3, 4].map(() => band.band.takeNext({ nowMs: NOW_MS }));
  expect(order).toEqual([soon, late, none, silly]);
});
