import { describe, expect, it } from "vitest";
import type { QueuedRequest } from "../../../../src/scheduler/flow-control/contracts.ts";
import {
  localityFairness,
  MATCH_AGE_MS_MAX,
  MATCHES_MAX,
} from "../../../../src/scheduler/plugins/flow-control/locality-fairness.ts";
import { BandAlone, fairnessOf, NOW_MS } from "../../support/flow-control.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";

describeFlowControl(localityFairness, {
  role: "fairness policy",
  stability: "fairlead",
  least: {},
  filled: { outputWeight: 2, quantumTokens: 32_768 },
  refused: [{ quantumTokens: 0 }, { quantum: 5 }],
});

const createBand = (quantumTokens: number) =>
  new BandAlone({ fairness: fairnessOf("locality-fairness", { quantumTokens }) });

/** What is cached is written in the bytes. */
const matchTokens = ({ bytes }: QueuedRequest) => bytes;

describe("locality-fairness", () => {
  it("prefers what is cached, until its flow is a quantum ahead", () => {
    const band = createBand(5_000);
    for (let i = 0; i < 20; i++) {
      band.enqueue({ fairnessId: "cached", bytes: 900, outputTokens: 0 });
      band.enqueue({ fairnessId: "cold", bytes: 0, outputTokens: 0 });
    }
    const served = band.serve(20, { matchTokens });
    expect(served.slice(0, 5)).toEqual(Array.from({ length: 5 }, () => "cached"));
    expect(served[5]).toBe("cold");
    const ahead = served.filter((id) => id === "cached").length * 2 - served.length;
    expect(ahead).toBeLessThanOrEqual(6);
  });

  it("is fair by tokens where nothing is cached, and where nobody can tell", () => {
    for (const context of [{ matchTokens: () => 0 }, {}]) {
      const band = createBand(100_000);
      for (let i = 0; i < 10; i++)
        for (const fairnessId of ["a", "b"]) band.enqueue({ fairnessId });
      expect(band.serve(10, context).filter((id) => id === "a")).toHaveLength(5);
    }
  });

  it("serves a flow that is the only one with credit, whatever is cached elsewhere", () => {
    const band = createBand(1_000);
    band.enqueue({ fairnessId: "greedy", bytes: 9_000, uncachedTokens: 50_000 });
    band.enqueue({ fairnessId: "greedy", bytes: 9_000 });
    for (let i = 0; i < 20; i++) band.enqueue({ fairnessId: "modest", bytes: 0 });
    expect(band.serve(21, { matchTokens }).lastIndexOf("greedy")).toBe(0);
  });

  it("owes a flow that was away what others were given meanwhile", () => {
    const band = createBand(1);
    const entries = Array.from({ length: 10 }, () => band.enqueue({ fairnessId: "away" }));
    for (let i = 0; i < 20; i++) band.enqueue({ fairnessId: "stays" });
    for (const entry of entries) band.band.setAway(entry, true);
    band.serve(5, { matchTokens });
    for (const entry of entries) band.band.setAway(entry, false);
    const served = band.serve(6, { matchTokens });
    expect(served.filter((id) => id === "away")).toHaveLength(5);
  });

  it("goes on with a flow whose text is hot, however many were served less", () => {
    const band = createBand(50_000);
    for (let i = 0; i < 500; i++)
      for (let n = 0; n < 4; n++)
        band.enqueue({ fairnessId: `f${i}`, bytes: n === 0 ? 0 : 900, outputTokens: 0 });
    const served = band.serve(40, { matchTokens });
    for (let i = 0; i < 40; i += 4) expect(new Set(served.slice(i, i + 4)).size).toBe(1);
  });

  it("looks at a bounded number of requests", () => {
    const band = createBand(1_000_000);
    for (let i = 0; i < 500; i++) for (let n = 0; n < 2; n++) band.enqueue({ fairnessId: `f${i}` });
    band.serve(100, { matchTokens });
    let looks = 0;
    // What was looked up before is too old.
    const nowMs = NOW_MS + MATCH_AGE_MS_MAX;
    band.serve(1, { nowMs, matchTokens: () => ++looks });
    expect(looks).toBe(MATCHES_MAX);
  });

  it("looks up again what is old, or another request's", () => {
    const band = createBand(1_000_000);
    band.enqueue({ fairnessId: "a" });
    const looked: number[] = [];
    const look = (nowMs: number, cachedTokens: number) =>
      band.band.fairness.choose({
        nowMs,
        matchTokens: () => (looked.push(nowMs - NOW_MS), cachedTokens),
      })!.fairnessId;
    look(NOW_MS, 10);
    look(NOW_MS + MATCH_AGE_MS_MAX - 1, 10);
    expect(looked).toEqual([0]);
    look(NOW_MS + MATCH_AGE_MS_MAX, 10);
    expect(looked).toEqual([0, MATCH_AGE_MS_MAX]);
    band.serve(1);
    band.enqueue({ fairnessId: "a" });
    look(NOW_MS + MATCH_AGE_MS_MAX, 10);
    expect(looked).toEqual([0, MATCH_AGE_MS_MAX, MATCH_AGE_MS_MAX]);
  });
});
