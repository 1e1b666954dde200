import { describe, expect, it } from "vitest";
import type { PoolResources } from "../../../src/durable/directory/contract.ts";
import { admittedResources, KnownResources } from "../../../src/worker/pools/cluster-resources.ts";

const of = (pool: string, version: number): PoolResources => ({
  pool,
  version,
  objectives: [{ name: `o${version}`, priority: version }],
  rewrites: [],
});
const read = (revision: number, ...told: PoolResources[]) => ({
  revision,
  pools: told.map((each) => ({ json: JSON.stringify(each) })),
});

describe("KnownResources", () => {
  it("takes what is newer, of configured pools", () => {
    const known = new KnownResources();
    known.configure(["a"]);
    known.update({ epoch: "e1", resources: read(7, of("a", 5), of("stranger", 1)) });
    expect([known.known, known.revision]).toEqual([7, 1]);
    known.update({ epoch: "e1", resources: read(6, of("a", 4)) });
    expect([known.known, known.revision, known.of("a")?.version]).toEqual([7, 1, 5]);
    expect(known.of("stranger")).toBeUndefined();
    known.configure([]);
    expect(known.of("a")).toBeUndefined();
  });

  it("is told all anew by another directory, and nothing by one of the version before", () => {
    const known = new KnownResources();
    known.configure(["a"]);
    known.update({ epoch: "e1", resources: read(70, of("a", 5)) });
    known.update({ epoch: "e0" });
    expect([known.known, known.of("a")?.version]).toEqual([70, 5]);
    known.update({ epoch: "e2", resources: read(1, of("a", 5)) });
    expect([known.known, known.revision]).toEqual([1, 1]);
  });
});

describe("a pool of a directory of the version before", () => {
  it("takes objectives and no rewrites", () => {
    const rewrites = [{ name: "r", rules: [] }];
    const admitted = admittedResources({}, { ...of("a", 1), rewrites });
    expect(admitted.objectives).toHaveLength(1);
    expect(admitted.rewrites).toEqual([]);
  });
});
