// Every metric name of Fairlead, once. Names, labels and buckets are llm-d's EPP's where it has the
// metric (llm-d-router pkg/epp/metrics); ours start with `fairlead_`. The simulator's names are
// vLLM's and stand in simulator/metrics.ts, because they belong to the engine it imitates.

import { DISAGGREGATION_METRIC } from "./disaggregation-names.ts";
import { DISCOVERY_METRIC } from "./discovery-names.ts";
import { EDGE_METRIC } from "./edge-names.ts";
import { FLOW_CONTROL_METRIC } from "./flow-control-names.ts";
import { GLOBAL_METRIC } from "./global-names.ts";
import { KV_EVENT_METRIC } from "./kv-event-names.ts";
import { LINK_METRIC } from "./link-names.ts";
import type { MetricDefinition } from "./metrics.ts";
import { RESOURCE_METRIC } from "./resource-names.ts";
import { SCRAPE_METRIC } from "./scrape-names.ts";
import { SHARD_METRIC } from "./shard-names.ts";

function define<const Label extends string>(
  definition: MetricDefinition<Label>,
): MetricDefinition<Label> {
  return definition;
}

const REQUEST_LABELS = ["model_name", "target_model_name", "fairness_id", "priority"] as const;

const REQUEST_SECONDS = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45,
  60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
] as const;
const DECISION_SECONDS = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
] as const;
// llm-d's own list has 32778 for 32768; it is kept so that dashboards line up.
const INPUT_TOKENS = [
  1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536, 131072, 262144,
  524288, 1048576,
] as const;
const OUTPUT_TOKENS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192] as const;

export const METRIC = {
  // Worker
  requestTotal: define({
    name: "llm_d_epp_request_total",
    kind: "counter",
    help: "Inference requests.",
    labels: REQUEST_LABELS,
  }),
  requestErrorTotal: define({
    name: "llm_d_epp_request_error_total",
    kind: "counter",
    help: "Inference requests that ended in an error.",
    labels: [...REQUEST_LABELS, "error_code"],
  }),
  requestSeconds: define({
    name: "llm_d_epp_request_duration_seconds",
    kind: "histogram",
    help: "Request received to response headers or, where metered, to the end.",
    labels: REQUEST_LABELS,
    buckets: REQUEST_SECONDS,
  }),
  modelRewriteDecisionsTotal: define({
    name: "llm_d_epp_model_rewrite_decisions_total",
    kind: "counter",
    help: "Requests whose model a rewrite chose, once for each pool that was asked.",
    labels: ["model_rewrite_name", "model_name", "target_model"],
  }),
  directoryAgeSeconds: define({
    name: "fairlead_directory_age_seconds",
    kind: "gauge",
    help: "Age of this isolate's copy of the configuration.",
    labels: [],
  }),
  workerRetriesTotal: define({
    name: "fairlead_worker_retries_total",
    kind: "counter",
    help: "Attempts after the first one of a request: another relay, or other endpoints.",
    labels: [],
  }),
  workerRetriesDeniedTotal: define({
    name: "fairlead_worker_retries_denied_total",
    kind: "counter",
    help: "Retries that did not happen because the retry budget was empty.",
    labels: [],
  }),
  snapshotPicksTotal: define({
    name: "fairlead_snapshot_picks_total",
    kind: "counter",
    help: "Picks from this isolate's last snapshot, because the pool's object was away.",
    labels: [],
  }),
  waitsLostTotal: define({
    name: "fairlead_waits_lost_total",
    kind: "counter",
    help: "Calls of requests in a pool's queue that broke off. Each picks again and keeps its place.",
    labels: [],
  }),
  waitsRefusedTotal: define({
    name: "fairlead_waits_refused_total",
    kind: "counter",
    help: "Requests that did not wait because this isolate held as many bodies as it may.",
    labels: [],
  }),
  capacityAsksTotal: define({
    name: "fairlead_capacity_asks_total",
    kind: "counter",
    help: "Calls of a capacityWebhook: accepted, refused or unreachable, after a second try.",
    labels: ["outcome"],
  }),

  // Worker and PoolObject
  configFallbacksTotal: define({
    name: "fairlead_config_fallbacks_total",
    kind: "counter",
    help: "Scheduling configurations that this release could not read and took the default for.",
    labels: [],
  }),

  // PoolObject
  pluginFailuresTotal: define({
    name: "fairlead_plugin_failures_total",
    kind: "counter",
    help: "Calls of a plugin that threw. The decision went on without its say.",
    labels: ["plugin_type"],
  }),
  decisionFailuresTotal: define({
    name: "fairlead_decision_failures_total",
    kind: "counter",
    help: "Decisions that threw: the request that had waited for one was refused.",
    labels: [],
  }),
  schedulerAttemptsTotal: define({
    name: "llm_d_epp_scheduler_attempts_total",
    kind: "counter",
    help: "Scheduling attempts by outcome.",
    labels: ["status", "target_model_name", "endpoint_name"],
  }),
  disaggDecisionsTotal: define({
    name: "llm_d_epp_disagg_decision_total",
    kind: "counter",
    help: "Decisions of profile handlers that may split requests, by the stages that run apart.",
    labels: ["plugin_name", "plugin_type", "model_name", "decision_type"],
  }),
  schedulerSeconds: define({
    name: "llm_d_epp_scheduler_e2e_duration_seconds",
    kind: "histogram",
    help: "Time to choose endpoints. Reads 0 on Cloudflare, where clocks stand still between I/O.",
    labels: [],
    buckets: DECISION_SECONDS,
  }),
  shadowDecisionsTotal: define({
    name: "fairlead_shadow_decisions_total",
    kind: "counter",
    help: "Decisions a shadow configuration looked at: same, different, refused or accepted by it only.",
    labels: ["outcome"],
  }),
  shadowHitTokensTotal: define({
    name: "fairlead_shadow_hit_tokens_total",
    kind: "counter",
    help: "Prompt tokens believed cached where requests went, and where the shadow would have sent them.",
    labels: ["config"],
  }),
  shadowPredictedTtftSecondsTotal: define({
    name: "fairlead_shadow_predicted_ttft_seconds_total",
    kind: "counter",
    help: "Sum of predicted times to first token, of the real choice and of the shadow's.",
    labels: ["config"],
  }),
  shadowFailuresTotal: define({
    name: "fairlead_shadow_failures_total",
    kind: "counter",
    help: "Shadow configurations switched off because they failed.",
    labels: [],
  }),
  averageKvUsage: define({
    name: "llm_d_epp_average_kv_cache_utilization",
    kind: "gauge",
    help: "Mean KV cache utilization over fresh endpoints, 0..1.",
    labels: ["name"],
  }),
  averageQueueSize: define({
    name: "llm_d_epp_average_queue_size",
    kind: "gauge",
    help: "Mean engine queue length over fresh endpoints.",
    labels: ["name"],
  }),
  averageRunning: define({
    name: "llm_d_epp_average_running_requests",
    kind: "gauge",
    help: "Mean running requests over fresh endpoints.",
    labels: ["name"],
  }),
  readyEndpoints: define({
    name: "llm_d_epp_ready_endpoints",
    kind: "gauge",
    help: "Endpoints with a fresh sample.",
    labels: ["name"],
  }),
  ejectedEndpoints: define({
    name: "fairlead_ejected_endpoints",
    kind: "gauge",
    help: "Endpoints that decisions avoid because a relay could not reach them.",
    labels: ["name"],
  }),
  endpointQueueSize: define({
    name: "llm_d_epp_per_endpoint_queue_size",
    kind: "gauge",
    help: "Engine queue length.",
    labels: ["name", "model_server_endpoint"],
  }),
  inflightRequests: define({
    name: "llm_d_epp_inflight_requests",
    kind: "gauge",
    help: "Open tickets by endpoint.",
    labels: ["endpoint_name"],
  }),
  inflightTokens: define({
    name: "llm_d_epp_inflight_tokens",
    kind: "gauge",
    help: "Estimated tokens of open tickets by endpoint.",
    labels: ["endpoint_name"],
  }),
  prefixIndexerSize: define({
    name: "llm_d_epp_prefix_indexer_size",
    kind: "gauge",
    help: "Blocks in the prefix tree.",
    labels: ["plugin_name"],
  }),
  prefixIndexerHitRatio: define({
    name: "llm_d_epp_prefix_indexer_hit_ratio",
    kind: "histogram",
    help: "Matched share of a request's blocks on the chosen endpoint.",
    labels: ["plugin_name"],
    buckets: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
  }),
  prefixTreeBytes: define({
    name: "fairlead_prefix_tree_bytes",
    kind: "gauge",
    help: "Memory of the prefix tree.",
    labels: ["name"],
  }),
  prefixJournalBytes: define({
    name: "fairlead_prefix_journal_bytes",
    kind: "gauge",
    help: "Stored rows of the prefix journal.",
    labels: ["name"],
  }),
  prefixJournalWrittenBytesTotal: define({
    name: "fairlead_prefix_journal_written_bytes_total",
    kind: "counter",
    help: "Bytes written to the prefix journal since the object started.",
    labels: ["name"],
  }),
  prefixJournalLeftOutBlocksTotal: define({
    name: "fairlead_prefix_journal_left_out_blocks_total",
    kind: "counter",
    help: "Blocks learned and not journalled, because too much was waiting to be written.",
    labels: ["name"],
  }),
  prefixJournalRowsTotal: define({
    name: "fairlead_prefix_journal_rows_total",
    kind: "counter",
    help: "Rows of the prefix journal that were dropped by a bound, or could not be read.",
    labels: ["name", "outcome"],
  }),
  requestInputTokens: define({
    name: "llm_d_epp_request_input_tokens",
    kind: "histogram",
    help: "Prompt tokens as the engine reported them.",
    labels: REQUEST_LABELS,
    buckets: INPUT_TOKENS,
  }),
  requestCachedTokens: define({
    name: "llm_d_epp_request_cached_tokens",
    kind: "histogram",
    help: "Prompt tokens the engine found in its cache.",
    labels: REQUEST_LABELS,
    buckets: INPUT_TOKENS,
  }),
  requestOutputTokens: define({
    name: "llm_d_epp_request_output_tokens",
    kind: "histogram",
    help: "Generated tokens as the engine reported them.",
    labels: REQUEST_LABELS,
    buckets: OUTPUT_TOKENS,
  }),
  requestTtftSeconds: define({
    name: "llm_d_epp_request_ttft_seconds",
    kind: "histogram",
    help: "Relay received to first body byte.",
    labels: REQUEST_LABELS,
    buckets: REQUEST_SECONDS.slice(0, 24),
  }),
  ticketsOpen: define({
    name: "fairlead_tickets_open",
    kind: "gauge",
    help: "Tickets not yet released.",
    labels: ["name"],
  }),
  ticketsTotal: define({
    name: "fairlead_tickets_total",
    kind: "counter",
    help: "Released tickets by how they were released.",
    labels: ["released_by"],
  }),
  ticketsRestoredTotal: define({
    name: "fairlead_tickets_restored_total",
    kind: "counter",
    help: "Tickets of the object's earlier life that relays reported, by what was done.",
    labels: ["outcome"],
  }),
  agentsConnected: define({
    name: "fairlead_agents_connected",
    kind: "gauge",
    help: "Connected agents.",
    labels: ["role"],
  }),
  agentFramesTotal: define({
    name: "fairlead_agent_frames_total",
    kind: "counter",
    help: "Frames from agents by outcome.",
    labels: ["outcome"],
  }),

  ...DISAGGREGATION_METRIC,
  ...FLOW_CONTROL_METRIC,
  ...GLOBAL_METRIC,
  ...RESOURCE_METRIC,
  ...EDGE_METRIC,
  ...SHARD_METRIC,

  ...KV_EVENT_METRIC,
  ...LINK_METRIC,

  // Agents
  ...SCRAPE_METRIC,
  agentReconnectsTotal: define({
    name: "fairlead_agent_reconnects_total",
    kind: "counter",
    help: "Connections to the pool's object that were lost or refused.",
    labels: ["role"],
  }),
  ...DISCOVERY_METRIC,
  relayRequestsTotal: define({
    name: "fairlead_relay_requests_total",
    kind: "counter",
    help: "Requests to the relay by outcome.",
    labels: ["outcome"],
  }),
  relayEvictionsTotal: define({
    name: "fairlead_relay_evictions_total",
    kind: "counter",
    help: "Requests that the pool's object wanted ended for others, by what became of them.",
    labels: ["outcome"],
  }),
  relayAttemptsTotal: define({
    name: "fairlead_relay_attempts_total",
    kind: "counter",
    help: "Attempts at endpoints by outcome.",
    labels: ["outcome"],
  }),
  relayRetriesDeniedTotal: define({
    name: "fairlead_relay_retries_denied_total",
    kind: "counter",
    help: "Retries that did not happen because the retry budget was empty.",
    labels: [],
  }),
  relayMarkedEndpoints: define({
    name: "fairlead_relay_marked_endpoints",
    kind: "gauge",
    help: "Endpoints this relay tries last because it could not reach them.",
    labels: [],
  }),
  relayOpenStreams: define({
    name: "fairlead_relay_open_streams",
    kind: "gauge",
    help: "Requests the relay is carrying.",
    labels: [],
  }),
  relayOutboxReports: define({
    name: "fairlead_relay_outbox_reports",
    kind: "gauge",
    help: "Ticket reports not yet acknowledged.",
    labels: [],
  }),
  relayOutboxDroppedTotal: define({
    name: "fairlead_relay_outbox_dropped_total",
    kind: "counter",
    help: "Ticket reports given up because the outbox was full.",
    labels: [],
  }),
  relayTtftSeconds: define({
    name: "fairlead_relay_ttft_seconds",
    kind: "histogram",
    help: "Request received to first body byte.",
    labels: [],
    buckets: REQUEST_SECONDS.slice(0, 24),
  }),
  frontConnections: define({
    name: "fairlead_front_connections",
    kind: "gauge",
    help: "Client connections open at the front.",
    labels: [],
  }),
  frontConnectionsTotal: define({
    name: "fairlead_front_connections_total",
    kind: "counter",
    help: "Client connections by how they ended.",
    labels: ["outcome"],
  }),
} as const;
