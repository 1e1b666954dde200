import { describe, expect, it } from "vitest";
import {
  PROGRAMS_MAX,
  programAwareFairness,
} from "../../../../src/scheduler/plugins/flow-control/program-aware-fairness.ts";
import { BandAlone, fairnessOf, NOW_MS, queued } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(programAwareFairness, {
  role: "fairness policy",
  stability: "beta",
  least: {},
  filled: {
    strategy: "las",
    lasWeightService: 0.8,
    lasWeightHeadWait: 0.2,
    lasHalfLifeSeconds: 60,
    evictionTtlSeconds: 3600,
    evictionSweepSeconds: 300,
  },
  refused: [
    { lasWeightService: -1 },
    { evictionSweepSeconds: 0 },
    { strategy: "vtc" },
    { lasDecayFactor: 0.9 },
  ],
});

const HOUR_MS = 3_600_000;

class ProgramsAlone extends BandAlone {
  constructor(params: object = {}) {
    super({ fairness: fairnessOf("program-aware-fairness", params) });
  }

  /** A request of `fairnessId` has ended with so many tokens. */
  ended(fairnessId: string, promptTokens: number, nowMs = NOW_MS): void {
    const usage = { promptTokens, uncachedTokens: promptTokens, outputTokens: 0 };
    const flow = this.band.flowOf(fairnessId);
    this.band.fairness.settled!(flow, { request: queued({ fairnessId }), usage, nowMs });
  }
}

describe("program-aware-fairness", () => {
  it("serves the program that was given least", () => {
    const band = new ProgramsAlone();
    for (const [id, tokens] of Object.entries({ a: 3_000, b: 1_000, c: 2_000 })) {
      band.ended(id, tokens);
      band.enqueue({ fairnessId: id });
    }
    expect(band.serve(3)).toEqual(["b", "c", "a"]);
  });

  it("lets a long wait outweigh little service, by its weight", () => {
    const band = new ProgramsAlone({ lasWeightService: 0.2, lasWeightHeadWait: 0.8 });
    band.ended("old", 3_000);
    band.enqueue({ fairnessId: "old" }, NOW_MS - 10_000);
    band.enqueue({ fairnessId: "new" });
    expect(band.serve(1)).toEqual(["old"]);
  });

  it("lets old service count less", () => {
    const band = new ProgramsAlone({ lasHalfLifeSeconds: 60 });
    band.ended("past", 4_000, NOW_MS - 180_000);
    band.ended("present", 1_000, NOW_MS);
    for (const fairnessId of ["past", "present"]) band.enqueue({ fairnessId });
    expect(band.serve(1)).toEqual(["past"]);
    const never = new ProgramsAlone({ lasHalfLifeSeconds: 0 });
    never.ended("past", 4_000, NOW_MS - 180_000);
    never.ended("present", 1_000, NOW_MS);
    for (const fairnessId of ["past", "present"]) never.enqueue({ fairnessId });
    expect(never.serve(1)).toEqual(["present"]);
  });

  it("keeps its numbers in range over weeks", () => {
    const band = new ProgramsAlone({ lasHalfLifeSeconds: 1 });
    for (let hour = 0; hour < 500; hour++) band.ended("a", 1_000, NOW_MS + hour * HOUR_MS);
    band.ended("b", 1_001, NOW_MS + 500 * HOUR_MS);
    for (const fairnessId of ["b", "a"]) band.enqueue({ fairnessId });
    expect(band.serve(1)).toEqual(["a"]);
  });

  it("forgets a program after its time, though one of its requests never ended", () => {
    const band = new ProgramsAlone({ lasHalfLifeSeconds: 0, evictionTtlSeconds: 60 });
    band.ended("a", 9_000);
    band.enqueue({ fairnessId: "a" });
    band.serve(1);
    band.ended("b", 10, NOW_MS + HOUR_MS);
    for (const fairnessId of ["a", "b"]) band.enqueue({ fairnessId });
    expect(band.serve(1)).toEqual(["a"]);
  });

  it("remembers a bounded number of programs", () => {
    const band = new ProgramsAlone({ lasHalfLifeSeconds: 0 });
    band.ended("first", 9_000);
    for (let i = 0; i < PROGRAMS_MAX; i++) band.ended(`p${i}`, 100);
    for (const fairnessId of ["p5", "first"]) band.enqueue({ fairnessId });
    expect(band.serve(1)).toEqual(["first"]);
  });
});
