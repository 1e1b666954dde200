// Names of what is told of a pool's queue, a part of METRIC. Those of llm-d's EPP have its labels but the
// models', which a queue does not know.
//
// Of llm-d's there are not:
//   flow_control_dispatch_cycle_duration_seconds, flow_control_request_enqueue_duration_seconds
//     a Worker's clock stands still while it computes
//   flow_control_reclaim_target, flow_control_pending_reclaim
//     figures within one decision on whom to end: nothing keeps them
//   flow_control_revocation_confirmation_seconds
//     when an end was asked for is not kept for each request; what came of it is in revocations_total

import type { MetricDefinition } from "./metrics.ts";

const POOL = ["inference_pool"] as const;
const BAND = ["priority", "inference_pool"] as const;
const FLOW = ["fairness_id", "priority", "inference_pool"] as const;

export const FLOW_CONTROL_METRIC = {
  queueSeconds: {
    name: "llm_d_epp_flow_control_request_queue_duration_seconds",
    kind: "histogram",
    help: "Arrival in the queue to the end of the wait, by how it ended.",
    labels: ["fairness_id", "priority", "outcome", "inference_pool"],
    buckets: [
      0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ],
  },
  queueEndsTotal: {
    name: "llm_d_epp_flow_control_requests_total",
    kind: "counter",
    help: "Requests whose wait has ended, or that were not let in, by outcome.",
    labels: ["outcome", "priority", "inference_pool"],
  },
  revocationsIssuedTotal: {
    name: "llm_d_epp_flow_control_revocations_issued_total",
    kind: "counter",
    // llm-d's has the priority of who waited.
    help: "Requests that had been let through and were to be ended for a higher priority, by their own.",
    labels: BAND,
  },
  revocationsTotal: {
    name: "llm_d_epp_flow_control_revocations_total",
    kind: "counter",
    help: "What came of them: confirmed, timed_out, or spared as the answer had begun, which llm-d's are not.",
    labels: ["outcome", "inference_pool"],
  },
  queueSize: {
    name: "llm_d_epp_flow_control_queue_size",
    kind: "gauge",
    help: "Requests that wait.",
    labels: FLOW,
  },
  queueBytes: {
    name: "llm_d_epp_flow_control_queue_bytes",
    kind: "gauge",
    help: "Bodies of requests that wait, in bytes.",
    labels: FLOW,
  },
  poolSaturation: {
    name: "llm_d_epp_flow_control_pool_saturation",
    kind: "gauge",
    help: "How full the pool and its stages are; 1 and more is full. A stage without endpoints has none.",
    labels: ["inference_pool", "stage"],
  },
  staleEndpoints: {
    name: "llm_d_epp_flow_control_stale_endpoints",
    kind: "gauge",
    help: "Endpoints that count as full because nobody has heard of them lately, by the detector's name.",
    labels: ["detector", "inference_pool"],
  },
  capacityRequests: {
    name: "llm_d_epp_flow_control_capacity_utilization_requests",
    kind: "gauge",
    help: "Requests that wait in a band over its limit.",
    labels: BAND,
  },
  capacityBytes: {
    name: "llm_d_epp_flow_control_capacity_utilization_bytes",
    kind: "gauge",
    help: "Bytes that wait in a band over its limit.",
    labels: BAND,
  },
  capacityTokens: {
    name: "fairlead_flow_control_capacity_utilization_tokens",
    kind: "gauge",
    help: "Tokens that wait in a band over its limit.",
    labels: BAND,
  },
  globalCapacityRequests: {
    name: "llm_d_epp_flow_control_global_capacity_utilization_requests",
    kind: "gauge",
    help: "Requests that wait in the pool over its limit.",
    labels: POOL,
  },
  globalCapacityBytes: {
    name: "llm_d_epp_flow_control_global_capacity_utilization_bytes",
    kind: "gauge",
    help: "Bytes that wait in the pool over its limit.",
    labels: POOL,
  },
  globalCapacityTokens: {
    name: "fairlead_flow_control_global_capacity_utilization_tokens",
    kind: "gauge",
    help: "Tokens that wait in the pool over its limit.",
    labels: POOL,
  },
  bandCeiling: {
    name: "fairlead_flow_control_ceiling",
    kind: "gauge",
    help: "Saturation from which a band is held back.",
    labels: BAND,
  },
  bandOldestSeconds: {
    name: "fairlead_flow_control_oldest_wait_seconds",
    kind: "gauge",
    help: "Wait of the request that has waited longest in a band, so far.",
    labels: BAND,
  },
  bandDrainRate: {
    name: "fairlead_flow_control_drain_rate",
    kind: "gauge",
    help: "Requests a second that a band is served while something waits in it.",
    labels: BAND,
  },
  bandFairness: {
    name: "fairlead_flow_control_jain_index",
    kind: "gauge",
    help: "Jain's index of tokens lately served by weight, over the flows that wait in a band; 1 is fair.",
    labels: BAND,
  },
  bandFlows: {
    name: "fairlead_flow_control_flows",
    kind: "gauge",
    help: "Flows of a band: with something waiting, in flight, or lately so.",
    labels: BAND,
  },
  queueOpenWaits: {
    name: "fairlead_flow_control_open_waits",
    kind: "gauge",
    help: "Requests that wait as open calls.",
    labels: POOL,
  },
  queuePlaces: {
    name: "fairlead_flow_control_places",
    kind: "gauge",
    help: "Requests that wait with a numbered place, and are asked for again.",
    labels: POOL,
  },
  queueAskedAgainTotal: {
    name: "fairlead_flow_control_asked_again_total",
    kind: "counter",
    help: "Times that a request which waits was asked for again: for its place, or after a lost call.",
    labels: POOL,
  },
  queueInFlight: {
    name: "fairlead_flow_control_inflight_requests",
    kind: "gauge",
    help: "Requests that were let through and have not ended.",
    labels: POOL,
  },
} as const satisfies Record<string, MetricDefinition>;
