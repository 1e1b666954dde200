import { describe, expect, it } from "vitest";
import { COORDINATORS_MAX, CONTROL_ORDINAL } from "../../../src/config/coordinators.ts";
import { parseDeployment } from "../../../src/config/deployment.ts";
import {
  CLUSTERS_MAX,
  clusterPlaces,
  planClusters,
  spreadRtts,
} from "../../../src/cli/up/clusters.ts";
import { defaultDeployment } from "../../../src/cli/up/deployment.ts";

const KEYS = {
  key: "sk-fairlead-0123456789",
  adminKey: "admin-0123456789abcdef",
  agentToken: "agent-0123456789abcdef",
  relaySecret: "relay-0123456789abcdef",
};

describe("clusters", () => {
  it("have names, regions and times of their own, as a good configuration", () => {
    const plans = planClusters(spreadRtts(CLUSTERS_MAX));
    expect(new Set(plans.map(({ name }) => name)).size).toBe(CLUSTERS_MAX);
    expect(new Set(plans.map(({ region }) => region)).size).toBe(CLUSTERS_MAX);
    const pools = plans.map((plan, i) => ({ ...plan, relayPort: 9_000 + i }));
    const parsed = parseDeployment(defaultDeployment(KEYS, ["m"], pools, { kvKeys: "content" }));
    expect(parsed.ok && parsed.value.pools.map(({ rttMs }) => rttMs)).toEqual(
      spreadRtts(CLUSTERS_MAX),
    );
  });

  it.for([1, 3, CLUSTERS_MAX - 1])("each of %i can lose its object alone", (count) => {
    const { coordinatorCount, places } = clusterPlaces(planClusters(spreadRtts(count)));
    const ordinals = Object.values(places);
    expect(new Set(ordinals).size).toBe(count);
    expect(ordinals).not.toContain(CONTROL_ORDINAL);
    expect(Math.max(...ordinals)).toBeLessThan(coordinatorCount);
  });

  it("share coordinators where there are not enough, but never the directory's", () => {
    const { coordinatorCount, places } = clusterPlaces(planClusters(spreadRtts(CLUSTERS_MAX)));
    expect(coordinatorCount).toBe(COORDINATORS_MAX);
    expect(Object.values(places)).not.toContain(CONTROL_ORDINAL);
    expect(places["cluster-8"]).toBe(places["cluster-1"]);
  });
});
