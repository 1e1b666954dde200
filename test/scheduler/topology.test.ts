import { describe, expect, it } from "vitest";
import { CLOSENESS, closenessOf } from "../../src/scheduler/topology.ts";

const HOST = "kubernetes.io/hostname";
const RACK = "topology.kubernetes.io/rack";
const ZONE = "topology.kubernetes.io/zone";
const REGION = "topology.kubernetes.io/region";
const home = { [HOST]: "h1", [RACK]: "r1", [ZONE]: "z1", [REGION]: "e1" };

describe("closenessOf", () => {
  it.for([
    { name: "the same host", other: home, want: CLOSENESS.host },
    { name: "the same rack", other: { ...home, [HOST]: "h2" }, want: CLOSENESS.rack },
    {
      name: "the same zone",
      other: { ...home, [HOST]: "h2", [RACK]: "r2" },
      want: CLOSENESS.zone,
    },
    { name: "the same region", other: { [REGION]: "e1", [ZONE]: "z2" }, want: CLOSENESS.region },
    { name: "nothing shared", other: { ...home, [REGION]: "e2" }, want: 0 },
    { name: "no labels", other: {}, want: 0 },
    { name: "empty labels", other: { [HOST]: "", [RACK]: "" }, want: 0 },
    { name: "a host with nothing else known", other: { [HOST]: "h1" }, want: CLOSENESS.host },
    { name: "a rack's name in another zone", other: { [RACK]: "r1", [ZONE]: "z2" }, want: 0 },
  ])("knows $name", ({ other, want }) => {
    expect(closenessOf(home, other)).toBe(want);
    expect(closenessOf(other, home)).toBe(want);
  });

  it("takes an absent label on both sides for unknown, not for equal", () => {
    expect(closenessOf({}, {})).toBe(0);
  });
});
