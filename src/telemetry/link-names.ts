// Names of what links tell, which stand in for the network between an edge and its clusters; a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const LINK_METRIC = {
  linkConnections: {
    name: "fairlead_link_connections",
    kind: "gauge",
    help: "Connections open through a link.",
    labels: ["link"],
  },
  linkConnectionsTotal: {
    name: "fairlead_link_connections_total",
    kind: "counter",
    help: "Connections through a link by how they ended.",
    labels: ["link", "outcome"],
  },
} as const satisfies Record<string, MetricDefinition>;
