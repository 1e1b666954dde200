import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

const labels = (host: string, rack: string, zone: string, region: string) => ({
  labels: {
    "kubernetes.io/hostname": host,
    "topology.kubernetes.io/rack": rack,
    "topology.kubernetes.io/zone": zone,
    "topology.kubernetes.io/region": region,
  },
});
const ROWS = [
  labels("h1", "r1", "z1", "eu"),
  labels("h1", "r1", "z1", "eu"),
  labels("h2", "r1", "z1", "eu"),
  labels("h3", "r2", "z1", "eu"),
  labels("h4", "r3", "z2", "eu"),
  labels("h5", "r4", "z3", "us"),
  {},
];

describe("topology-affinity-scorer", () => {
  it("scores by the nearest level that is shared with the first stage's endpoint", () => {
    const context = pickContext(ROWS, { firstSlot: 0 });
    expect(scoresOf(createScorer("topology-affinity-scorer"), context)).toEqual([
      1, 1, 0.2, 0.05, 0.02, 0, 0,
    ]);
  });

  it("says nothing before a first stage", () => {
    const scores = scoresOf(createScorer("topology-affinity-scorer"), pickContext(ROWS));
    expect(new Set(scores)).toEqual(new Set([0]));
  });
});
