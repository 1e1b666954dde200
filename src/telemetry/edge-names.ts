// Names of metrics about decisions at the edge; a part of METRIC. Those of the Worker are one isolate's.

import type { MetricDefinition } from "./metrics.ts";

export const EDGE_METRIC = {
  edgeCommitsTotal: {
    name: "fairlead_edge_commits_total",
    kind: "counter",
    help: "Local picks that isolates have told a pool's object of, by what became of them: opened, completed after a relay's report, known, ended, late, no-room, malformed, beyond-batch, failed.",
    labels: ["outcome"],
  },
  edgeAskedMeanwhileTotal: {
    name: "fairlead_edge_asked_meanwhile_total",
    kind: "counter",
    help: "Requests that were sent as an isolate decided, and that the pool's object was asked about meanwhile, by its answer: kept, called-off, left by the client, unanswered, other.",
    labels: ["pool", "outcome"],
  },
  edgeRecordsTotal: {
    name: "fairlead_edge_records_total",
    kind: "counter",
    help: "Records of local picks that isolates have sent a pool's object: kept, malformed or of another release, other-configuration, unknown.",
    labels: ["outcome"],
  },
  edgeSyncsHeardTotal: {
    name: "fairlead_edge_syncs_heard_total",
    kind: "counter",
    help: "Calls of isolates that a pool's object has heard: answered, or not-configured.",
    labels: ["outcome"],
  },
  edgeSnapshotsTotal: {
    name: "fairlead_edge_snapshots_total",
    kind: "counter",
    help: "Snapshots of a pool given to isolates, whole or as a delta.",
    labels: ["kind"],
  },
  edgeSnapshotBytesTotal: {
    name: "fairlead_edge_snapshot_bytes_total",
    kind: "counter",
    help: "Rows and digests in snapshots of a pool, in bytes.",
    labels: ["kind"],
  },
  edgeCreditOutstanding: {
    name: "fairlead_edge_credit_outstanding",
    kind: "gauge",
    help: "Requests that isolates may let into the pool without asking its object.",
    labels: ["name"],
  },
  edgeDecisionsTotal: {
    name: "fairlead_edge_decisions_total",
    kind: "counter",
    help: "Picks by where they were decided, local or consult, and why there.",
    labels: ["pool", "where", "reason"],
  },
  edgeSyncsTotal: {
    name: "fairlead_edge_syncs_total",
    kind: "counter",
    help: "Calls that told a pool's object of local picks: answered, refused by a release of before, failed.",
    labels: ["pool", "outcome"],
  },
  edgeSnapshotsUnreadableTotal: {
    name: "fairlead_edge_snapshots_unreadable_total",
    kind: "counter",
    help: "Snapshots of a pool that this isolate could not read, as of another release: it asks the object until it can.",
    labels: ["pool"],
  },
  edgeCommitsDroppedTotal: {
    name: "fairlead_edge_commits_dropped_total",
    kind: "counter",
    help: "Local picks, and ends of them, that the object was never told, because too many were not.",
    labels: ["pool"],
  },
  edgeReplicaAgeSeconds: {
    name: "fairlead_edge_replica_age_seconds",
    kind: "gauge",
    help: "Age of this isolate's replica of a pool.",
    labels: ["pool"],
  },
  edgeReplicaBytes: {
    name: "fairlead_edge_replica_bytes",
    kind: "gauge",
    help: "Memory of this isolate's replicas of pools, about.",
    labels: [],
  },
  edgeCreditRequests: {
    name: "fairlead_edge_credit_requests",
    kind: "gauge",
    help: "Requests that this isolate may let into a pool without asking.",
    labels: ["pool"],
  },
  edgeRttSeconds: {
    name: "fairlead_edge_object_rtt_seconds",
    kind: "gauge",
    help: "The way from this isolate to a pool's object and back, as measured.",
    labels: ["pool"],
  },
} as const satisfies Record<string, MetricDefinition>;
