import { expect, it } from "vitest";
import { describeWhere } from "../../../src/cli/explain/where.ts";
import type { ExplainedWhere } from "../../../src/scheduler/decisions/document.ts";

const DECIDED: ExplainedWhere = {
  where: "local",
  reason: "nothing-to-gain",
  rttMs: 41.26,
  snapshotAgeMs: 120,
  credit: 50_000,
  saturation: 0.314,
  knownTokens: 640,
  possibleTokens: 1_280,
  gainMs: 3.25,
};

it("says where it was decided, why, and in which numbers", () => {
  expect(describeWhere(DECIDED)).toBe(
    "decided at the edge, because asking could have saved less than it takes: round trip 41 ms, " +
      "snapshot 120 ms old, credit 50000, saturation 0.31, cached 640 known, 1280 possible, gain 3.3 ms",
  );
});

it("says what was not known, and a reason of a newer release in its own word", () => {
  const none = { rttMs: null, snapshotAgeMs: null, credit: 0, gainMs: null };
  const decided = { ...DECIDED, ...none, where: "consult", reason: "on-a-whim" } as const;
  expect(describeWhere(decided)).toBe(
    "decided by the pool's object, because on-a-whim: round trip unknown, no snapshot",
  );
});
