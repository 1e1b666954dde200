// Names of what is known of clusters' InferenceObjectives and InferenceModelRewrites; a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const RESOURCE_METRIC = {
  clusterResources: {
    name: "fairlead_cluster_resources",
    kind: "gauge",
    help: "Objectives and rewrites of the pool's cluster that can be used, allowed here or not.",
    labels: ["pool", "kind"],
  },
  clusterResourcesIgnored: {
    name: "fairlead_cluster_resources_ignored",
    kind: "gauge",
    help: "Those that are not, by why: mistaken, not-allowed by the pool's configuration, or overridden by it.",
    labels: ["pool", "kind", "why"],
  },
  clusterResourcesReportsTotal: {
    name: "fairlead_cluster_resources_reports_total",
    kind: "counter",
    help: "What the pool's object has told the directory of them, by outcome.",
    labels: ["outcome"],
  },
  directoryResourcesTotal: {
    name: "fairlead_directory_resources_total",
    kind: "counter",
    help: "What pools' objects have told the directory of them by outcome: accepted, or why it changed nothing.",
    labels: ["outcome"],
  },
} as const satisfies Record<string, MetricDefinition>;
