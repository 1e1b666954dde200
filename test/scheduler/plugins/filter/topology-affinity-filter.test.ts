import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const TYPE = "topology-affinity-filter";
const at = (host: string, rack: string, zone: string, region: string) => ({
  labels: {
    "kubernetes.io/hostname": host,
    "topology.kubernetes.io/rack": rack,
    "topology.kubernetes.io/zone": zone,
    "topology.kubernetes.io/region": region,
  },
});

describe("topology-affinity-filter", () => {
  const rows = [
    at("h1", "r1", "z1", "e1"),
    at("h1", "r1", "z1", "e1"),
    at("h2", "r1", "z1", "e1"),
    at("h3", "r2", "z1", "e1"),
    at("h4", "r3", "z2", "e1"),
    at("h5", "r4", "z3", "e2"),
    {},
  ];
  // The peer, slot 0, need not be a candidate.
  const others = { candidates: [1, 2, 3, 4, 5, 6], firstSlot: 0 };

  it.for([
    { minAffinity: "", want: [1] },
    { minAffinity: "host", want: [1] },
    { minAffinity: "rack", want: [1, 2] },
    { minAffinity: "zone", want: [1, 2, 3] },
    { minAffinity: "region", want: [1, 2, 3, 4] },
  ])("keeps what shares the $minAffinity", ({ minAffinity, want }) => {
    expect(keptBy(TYPE, { minAffinity }, pickContext(rows, others))).toEqual(want);
  });

  it.for([
    { name: "without a peer", options: { firstSlot: -1, candidates: [0, 5] } },
    { name: "where the peer has no labels", options: { firstSlot: 6, candidates: [0, 5] } },
    { name: "where nobody is near", options: { firstSlot: 1, candidates: [4, 5] } },
  ])("keeps all $name", ({ options }) => {
    expect(keptBy(TYPE, {}, pickContext(rows, options))).toEqual(options.candidates);
  });

  it("refuses a level that there is not, and says what is without effect", () => {
    expect(accepts(TYPE, { minAffinity: "node" })).toBe(false);
    const plugin = findPlugin(TYPE)!;
    expect(plugin.notes!(plugin.params.parse({}))).toEqual([]);
    expect(plugin.notes!(plugin.params.parse({ topologyProducerName: "mine" }))).toHaveLength(1);
  });
});
