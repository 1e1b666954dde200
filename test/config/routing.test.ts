import { describe, expect, it } from "vitest";
import { parseDeployment } from "../../src/config/deployment.ts";

function issuesOf(routing: object) {
  const parsed = parseDeployment({ version: 1, pools: [], tenants: [], routing });
  return parsed.ok ? [] : parsed.issues;
}

/** As llm-d's hub mode is configured: a cluster is an endpoint. */
const HUB_MODE = {
  apiVersion: "llm-d.ai/v1alpha1",
  kind: "EndpointPickerConfig",
  plugins: [
    { type: "multicluster-file-discovery", parameters: { path: "/etc/clusters.yaml" } },
    { type: "multicluster-metrics-data-source" },
    { type: "multicluster-metrics-extractor" },
    { type: "multicluster-approx-prefix-cache-producer" },
    { type: "multicluster-session-affinity-filter" },
    { type: "multicluster-queue-scorer" },
    { type: "multicluster-kv-cache-utilization-scorer" },
    { type: "multicluster-prefix-cache-scorer" },
    { type: "max-score-picker" },
  ],
  dataLayer: {
    discovery: { pluginRef: "multicluster-file-discovery" },
    sources: [
      {
        pluginRef: "multicluster-metrics-data-source",
        extractors: [{ pluginRef: "multicluster-metrics-extractor" }],
      },
    ],
  },
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "multicluster-session-affinity-filter" },
        { pluginRef: "multicluster-queue-scorer", weight: 2 },
        { pluginRef: "multicluster-kv-cache-utilization-scorer", weight: 2 },
        { pluginRef: "multicluster-prefix-cache-scorer", weight: 3 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
};

describe("routing.scheduler", () => {
  it("may be left out, and takes llm-d's hub mode, whose plugins are alpha", () => {
    expect(issuesOf({})).toEqual([]);
    expect(issuesOf({ scheduler: HUB_MODE })).toEqual([]);
  });

  it("is checked like a pool's, with paths of its own", () => {
    const scheduler = { ...HUB_MODE, plugins: [...HUB_MODE.plugins, { type: "nope" }] };
    expect(issuesOf({ scheduler })).toEqual([
      expect.objectContaining({ path: "routing.scheduler.plugins[9].type" }),
    ]);
  });

  it("does not take a pool's default for one among pools", () => {
    const [issue] = issuesOf({ scheduler: {} });
    expect(issue).toMatchObject({ path: "routing.scheduler" });
    expect(issue!.message).toContain("leave `scheduler` out");
  });
});
