// Names of what is told of KV streams, from a collector's account to the pool's object; a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const KV_STREAM_METRIC = {
  // Collector
  kvStreamsOpen: {
    name: "fairlead_kv_streams_open",
    kind: "gauge",
    help: "Endpoints whose blocks the pool's object hears of from this collector.",
    labels: [],
  },
  kvStreamSnapshotsTotal: {
    name: "fairlead_kv_stream_snapshots_total",
    kind: "counter",
    help: "Times the object asked for everything that an endpoint holds.",
    labels: [],
  },
  kvStreamKeysTotal: {
    name: "fairlead_kv_stream_keys_total",
    kind: "counter",
    help: "Content keys sent to the object, added and removed.",
    labels: [],
  },
  kvStreamDueKeys: {
    name: "fairlead_kv_stream_due_keys",
    kind: "gauge",
    help: "At most so many content keys are still to be sent.",
    labels: [],
  },
  kvStreamMirrorBytes: {
    name: "fairlead_kv_stream_mirror_bytes",
    kind: "gauge",
    help: "Memory of what is kept to tell the object, of all endpoints.",
    labels: [],
  },
  kvStreamLeftOutTotal: {
    name: "fairlead_kv_stream_left_out_total",
    kind: "counter",
    help: "Content keys that are not told, because an endpoint holds too many or has too many ranks.",
    labels: [],
  },
  // Object
  kvKnownEndpoints: {
    name: "fairlead_kv_known_endpoints",
    kind: "gauge",
    help: "Endpoints by how well is known what they hold: exact, partial, demoted, none.",
    labels: ["name", "knowledge"],
  },
  kvIndexBlocks: {
    name: "fairlead_kv_index_blocks",
    kind: "gauge",
    help: "Distinct content blocks that endpoints say they hold.",
    labels: ["name"],
  },
  kvIndexPairs: {
    name: "fairlead_kv_index_pairs",
    kind: "gauge",
    help: "(block, endpoint) pairs of the index.",
    labels: ["name"],
  },
  kvIndexBytes: {
    name: "fairlead_kv_index_bytes",
    kind: "gauge",
    help: "Memory of the index.",
    labels: ["name"],
  },
  kvIndexShedTotal: {
    name: "fairlead_kv_index_shed_total",
    kind: "counter",
    help: "(block, endpoint) pairs shed or left out, because the index has no memory left.",
    labels: ["name"],
  },
  kvReceivedKeysTotal: {
    name: "fairlead_kv_received_keys_total",
    kind: "counter",
    help: "Content keys applied, added and removed.",
    labels: ["name"],
  },
  kvStreamAsksTotal: {
    name: "fairlead_kv_stream_asks_total",
    kind: "counter",
    help: "Times everything was asked for that an endpoint holds, by why.",
    labels: ["name", "reason"],
  },
  kvResidentKeys: {
    name: "fairlead_kv_resident_keys",
    kind: "gauge",
    help: "Content blocks that an endpoint is known to hold.",
    labels: ["endpoint_name"],
  },
  kvPredictionsTotal: {
    name: "fairlead_kv_predictions_total",
    kind: "counter",
    help: "Requests whose predicted cached tokens were compared with what the engine reported: right within one content block, over or under.",
    labels: ["name", "outcome"],
  },
  kvPredictionsSkippedTotal: {
    name: "fairlead_kv_predictions_skipped_total",
    kind: "counter",
    help: "Requests decided by exact knowledge that are not compared, by why.",
    labels: ["name", "reason"],
  },
  kvSpeculationEndsTotal: {
    name: "fairlead_kv_speculation_ends_total",
    kind: "counter",
    help: "Prompts that counted as cached where they were just sent, by what ended that: confirmed or contradicted by events, withdrawn because nobody read them, or expired.",
    labels: ["name", "end"],
  },
  kvPredictionWithinBlockRatio: {
    name: "fairlead_kv_prediction_within_block_ratio",
    kind: "gauge",
    help: "Of the latest requests compared at an endpoint, the share predicted within one content block.",
    labels: ["endpoint_name"],
  },
  kvPredictionErrorTokens: {
    name: "fairlead_kv_prediction_error_tokens",
    kind: "gauge",
    help: "Of the same requests, predicted less reported cached tokens, on average.",
    labels: ["endpoint_name"],
  },
  kvDemotionsTotal: {
    name: "fairlead_kv_demotions_total",
    kind: "counter",
    help: "Times an endpoint, or what is known of a model's prompts, stayed wrong and was not believed for a while.",
    labels: ["name", "what"],
  },
  kvDemotedModels: {
    name: "fairlead_kv_demoted_models",
    kind: "gauge",
    help: "Models whose prompts are not looked up by what engines say, because that stayed wrong.",
    labels: ["name"],
  },
} as const satisfies Record<string, MetricDefinition>;
