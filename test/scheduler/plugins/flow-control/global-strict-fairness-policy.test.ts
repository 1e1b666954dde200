import { expect, it } from "vitest";
import { globalStrictFairnessPolicy } from "../../../../src/scheduler/plugins/flow-control/global-strict-fairness-policy.ts";
import { BandAlone, fairnessOf, NOW_MS, orderingOf } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(globalStrictFairnessPolicy, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

const fairness = fairnessOf("global-strict-fairness-policy");

it("serves the oldest of all flows: a noisy one is served more", () => {
  const band = new BandAlone({ fairness });
  for (const [i, fairnessId] of ["noisy", "noisy", "noisy", "quiet", "noisy"].entries())
    band.enqueue({ fairnessId, receivedAtMs: NOW_MS - 100 + i });
  expect(band.serve(5)).toEqual(["noisy", "noisy", "noisy", "quiet", "noisy"]);
});

it("follows the band's order, also when a later request comes first", () => {
  const band = new BandAlone({ fairness, ordering: orderingOf("slo-deadline-ordering-policy") });
  band.enqueue({ fairnessId: "a", ttftSloMs: 900 });
  band.enqueue({ fairnessId: "b", ttftSloMs: 500 });
  band.enqueue({ fairnessId: "a", ttftSloMs: 100 });
  expect(band.serve(3)).toEqual(["a", "b", "a"]);
});
