import { expect, it } from "vitest";
import { fcfsOrderingPolicy } from "../../../../src/scheduler/plugins/flow-control/fcfs-ordering-policy.ts";
import { BandAlone, NOW_MS, orderingOf } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(fcfsOrderingPolicy, {
  role: "ordering policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

it("serves who came first, also if it was enqueued later", () => {
  const band = new BandAlone({ ordering: orderingOf("fcfs-ordering-policy") });
  const first = band.enqueue({ receivedAtMs: NOW_MS - 10 });
  const second = band.enqueue({ receivedAtMs: NOW_MS - 10 });
  const oldest = band.enqueue({ receivedAtMs: NOW_MS - 9_000 });
  const order = [1, 2, 3].map(() => band.band.takeNext({ nowMs: NOW_MS }));
  expect(order).toEqual([oldest, first, second]);
});

it("believes nobody who comes from the future, or says that it has waited for ever", () => {
  const band = new BandAlone({ ordering: orderingOf("fcfs-ordering-policy") });
  const future = band.enqueue({ receivedAtMs: NOW_MS + 1_000 });
  const past = band.enqueue({ receivedAtMs: 0 });
  expect(future.receivedAtMs).toBe(NOW_MS);
  expect(past.receivedAtMs).toBe(NOW_MS - 3_600_000);
});
