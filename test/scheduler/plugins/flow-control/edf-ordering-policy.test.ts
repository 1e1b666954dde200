import { expect, it } from "vitest";
import { edfOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/edf-ordering-policy.ts";
import { BandAlone, NOW_MS, orderingOf } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(edfOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

it("serves whose time ends first; without a limit last, and as they came", () => {
  const band = new BandAlone({ ordering: orderingOf("edf-ordering-policy") });
  const patient = band.enqueue({ receivedAtMs: NOW_MS - 50 });
  const relaxed = band.enqueue({ ttlMs: 5_000 });
  const hurried = band.enqueue({ ttlMs: 500 });
  const eternal = band.enqueue({});
  const order = [1, 2, 3, 4].map(() => band.band.takeNext({ nowMs: NOW_MS }));
  expect(order).toEqual([hurried, relaxed, patient, eternal]);
});
