// multicluster-session-affinity-filter: keep the cluster that the request's session is bound to.
//
//   as session-affinity-filter, where each endpoint of the pool is the entrance of a cluster
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/filter/sessionaffinity/multicluster.go. A
// type of its own only so that a configuration says what its endpoints are. O(n), no allocation for
// each endpoint.

import { defineFilter } from "../../plugin.ts";
import { sessionAffinityFilter } from "./session-affinity-filter.ts";

export const multiclusterSessionAffinityFilter = defineFilter({
  ...sessionAffinityFilter,
  type: "multicluster-session-affinity-filter",
});
