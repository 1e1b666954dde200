import { describe, expect, it } from "vitest";
import { weightedTokenFairness } from "../../../../src/scheduler/plugins/flow-control/weighted-token-fairness.ts";
import { BandAlone, fairnessOf, NOW_MS } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(weightedTokenFairness, {
  role: "fairness policy",
  stability: "fairlead",
  least: {},
  filled: { outputWeight: 2 },
  refused: [{ outputWeight: -1 }, { outputWeight: 101 }],
});

const createBand = (params: object = {}) =>
  new BandAlone({ fairness: fairnessOf("weighted-token-fairness", params) });

describe("weighted-token-fairness", () => {
  it("serves by tokens and not by requests", () => {
    const band = createBand();
    for (let i = 0; i < 12; i++) {
      band.enqueue({ fairnessId: "long", uncachedTokens: 3_000, outputTokens: 0 });
      band.enqueue({ fairnessId: "short", uncachedTokens: 1_000, outputTokens: 0 });
    }
    const served = band.serve(12);
    expect(served.filter((id) => id === "short")).toHaveLength(9);
  });

  it("counts what is cached as nothing, and an answer by its weight", () => {
    const band = createBand({ outputWeight: 10 });
    for (let i = 0; i < 22; i++) {
      band.enqueue({
        fairnessId: "cached",
        promptTokens: 9_000,
        uncachedTokens: 100,
        outputTokens: 0,
      });
      band.enqueue({ fairnessId: "talks", uncachedTokens: 0, outputTokens: 100 });
    }
    expect(band.serve(22).filter((id) => id === "cached")).toHaveLength(20);
  });

  it("gives each flow its weight", () => {
    const band = createBand();
    for (let i = 0; i < 40; i++) {
      band.enqueue({ fairnessId: "gold", weight: 3 });
      band.enqueue({ fairnessId: "tin", weight: 1 });
    }
    expect(band.serve(40).filter((id) => id === "gold")).toHaveLength(30);
  });

  it("lets nobody save up while away", () => {
    const band = createBand();
    band.enqueue({ fairnessId: "away" });
    band.serve(1);
    for (let i = 0; i < 40; i++) band.enqueue({ fairnessId: "stays" });
    band.serve(20);
    for (let i = 0; i < 10; i++) band.enqueue({ fairnessId: "away" });
    expect(band.serve(10).filter((id) => id === "away")).toHaveLength(5);
  });

  it("holds nothing against a flow that it was given while nobody else waited", () => {
    const band = createBand();
    for (let i = 0; i < 50; i++) {
      band.enqueue({ fairnessId: "alone" });
      band.serve(1);
    }
    for (let i = 0; i < 10; i++) {
      band.enqueue({ fairnessId: "new" });
      band.enqueue({ fairnessId: "alone" });
    }
    expect(band.serve(10).filter((id) => id === "alone")).toHaveLength(5);
  });

  it("gives back what was reserved and not used", () => {
    const band = createBand();
    const entries = Array.from({ length: 20 }, () => [
      band.enqueue({ fairnessId: "brief", outputTokens: 4_000 }),
      band.enqueue({ fairnessId: "exact", outputTokens: 0 }),
    ]);
    expect(band.serve(2)).toEqual(["brief", "exact"]);
    expect(band.serve(1)).toEqual(["exact"]);
    const { flow, request } = entries[0]![0]!;
    const usage = { promptTokens: 1_000, uncachedTokens: 0, outputTokens: 0 };
    band.band.fairness.settled!(flow, { request, usage, nowMs: NOW_MS });
    expect(band.serve(1)).toEqual(["brief"]);
  });

  it("serves in turn those whose requests cost nothing", () => {
    const band = createBand();
    for (let i = 0; i < 3; i++)
      for (const fairnessId of ["a", "b"])
        band.enqueue({ fairnessId, uncachedTokens: 0, outputTokens: 0 });
    expect(band.serve(6)).toEqual(["a", "b", "a", "b", "a", "b"]);
  });
});
