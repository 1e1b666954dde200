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

it("gives a flow whose turn came while it was away that turn when it is back, once", () => {
  const band = new BandAlone({ fairness });
  const away = band.enqueue({ fairnessId: "c" });
  for (const fairnessId of ["a", "b", "d", "a", "b", "d", "c"]) band.enqueue({ fairnessId });
  const other = band.enqueue({ fairnessId: "c" });
  expect(band.serve(1)).toEqual(["a"]);
  const entries = [...band.band.entries()].filter(({ flow }) => flow === away.flow);
  const setAway = (isAway: boolean) => {
    for (const entry of entries) band.band.setAway(entry, isAway);
  };
  setAway(true);
  setAway(false);
  expect(band.serve(1)).toEqual(["b"]);
  setAway(true);
  expect(band.serve(2)).toEqual(["d", "a"]);
  // Back and away again before it was served: the turn is still its own.
  setAway(false);
  setAway(true);
  expect(band.serve(1)).toEqual(["b"]);
  setAway(false);
  expect(band.serve(4)).toEqual(["c", "c", "d", "c"]);
  expect(other.flow.waitingCount).toBe(0);
});

it("gives a flow that had nothing waiting no turn for the time before", () => {
  const band = new BandAlone({ fairness });
  for (const fairnessId of ["b", "a", "c", "c", "c"]) band.enqueue({ fairnessId });
  expect(band.serve(4)).toEqual(["a", "b", "c", "c"]);
  band.enqueue({ fairnessId: "a" });
  band.enqueue({ fairnessId: "d" });
  expect(band.serve(3)).toEqual(["d", "a", "c"]);
});
