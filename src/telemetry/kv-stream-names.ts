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
    help: "Endpoints by how well is known what they hold: exact, partial, none.",
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
} as const satisfies Record<string, MetricDefinition>;
