// Names of what agents tell of the endpoints they have found; a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const DISCOVERY_METRIC = {
  endpointsKnown: {
    name: "fairlead_endpoints_known",
    kind: "gauge",
    help: "Endpoints this agent has discovered.",
    labels: [],
  },
  endpointsLeftOut: {
    name: "fairlead_endpoints_left_out",
    kind: "gauge",
    help: "What a cluster has that is no endpoint here: mistaken, or beyond a bound.",
    labels: [],
  },
  endpointsAgeSeconds: {
    name: "fairlead_endpoints_age_seconds",
    kind: "gauge",
    help: "Since the API server was heard last.",
    labels: [],
  },
  endpointsStale: {
    name: "fairlead_endpoints_stale",
    kind: "gauge",
    help: "1 while something keeps news of endpoints from coming, and the last good set is in force.",
    labels: [],
  },
} as const satisfies Record<string, MetricDefinition>;
