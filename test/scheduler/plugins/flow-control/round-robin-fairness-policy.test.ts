import { expect, it } from "vitest";
import { roundRobinFairnessPolicy } from "../../../../src/scheduler/plugins/flow-control/round-robin-fairness-policy.ts";
import { BandAlone, fairnessOf } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(roundRobinFairnessPolicy, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {},
  refused: [{ threshold: 1 }],
});

const fairness = fairnessOf("round-robin-fairness-policy");

it("serves the flows that wait in turn, whatever one of them sends", () => {
  const band = new BandAlone({ fairness });
  for (let i = 0; i < 5; i++) band.enqueue({ fairnessId: "b" });
  for (const fairnessId of ["c", "a", "c"]) band.enqueue({ fairnessId });
  expect(band.serve(8)).toEqual(["a", "b", "c", "b", "c", "b", "b", "b"]);
});

it("goes on after whoever was served last, also when that flow is empty or another has come", () => {
  const band = new BandAlone({ fairness });
  for (const fairnessId of ["a", "b", "d"]) band.enqueue({ fairnessId });
  expect(band.serve(2)).toEqual(["a", "b"]);
  for (const fairnessId of ["a", "c"]) band.enqueue({ fairnessId });
  expect(band.serve(4)).toEqual(["c", "d", "a", "nobody"]);
});
