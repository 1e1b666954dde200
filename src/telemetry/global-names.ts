// Names of what concerns pools among others: what they tell of themselves, and how one is chosen; a part of
// METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const GLOBAL_METRIC = {
  poolReportsTotal: {
    name: "fairlead_pool_reports_total",
    kind: "counter",
    help: "Summaries that the pool's object has sent to the directory by outcome; unbound: it knows none.",
    labels: ["outcome"],
  },
  poolDigestBytes: {
    name: "fairlead_pool_digest_bytes",
    kind: "gauge",
    help: "Size of the last digest of what the pool's caches hold.",
    labels: [],
  },
  poolShards: {
    name: "fairlead_pool_shards",
    kind: "gauge",
    help: "Objects of the pool that these metrics are of, and those that did not answer. Absent for one object.",
    labels: ["name", "outcome"],
  },
  poolSummaryAgeSeconds: {
    name: "fairlead_pool_summary_age_seconds",
    kind: "gauge",
    help: "Since the pool's last summary left it, as whoever answers this knows.",
    labels: ["pool"],
  },
  directoryReportsTotal: {
    name: "fairlead_directory_reports_total",
    kind: "counter",
    help: "Pools' summaries that came to the directory by outcome: accepted, or why they changed nothing.",
    labels: ["outcome"],
  },
  directoryReadsTotal: {
    name: "fairlead_directory_reads_total",
    kind: "counter",
    help: "Reads of the configuration or of pools' summaries.",
    labels: [],
  },
  directorySummariesReadTotal: {
    name: "fairlead_directory_summaries_read_total",
    kind: "counter",
    help: "Summaries that the directory has given to isolates.",
    labels: [],
  },
  directoryDigestBytes: {
    name: "fairlead_directory_digest_bytes",
    kind: "gauge",
    help: "Digests of pools' caches that the directory holds.",
    labels: [],
  },
  directoryDigestReadBytesTotal: {
    name: "fairlead_directory_digest_read_bytes_total",
    kind: "counter",
    help: "Bytes of digests that the directory has given to isolates.",
    labels: [],
  },
  poolChoicesTotal: {
    name: "fairlead_pool_choices_total",
    kind: "counter",
    help: "Requests that went to the pool, where others came into question, by reason: cost, draw, tier, failover.",
    labels: ["pool", "reason"],
  },
  poolState: {
    name: "fairlead_pool_state",
    kind: "gauge",
    help: "1 for how the pool stood when it last came into question here: fresh, full, stale, open, drained, …",
    labels: ["pool", "state"],
  },
  poolRttSeconds: {
    name: "fairlead_pool_rtt_seconds",
    kind: "gauge",
    help: "Round trip from here to the pool's relay or upstream, as last measured.",
    labels: ["pool"],
  },
  poolFailoversTotal: {
    name: "fairlead_pool_failovers_total",
    kind: "counter",
    help: "Requests that went on to another pool by why; full and refused: nothing was sent to the first.",
    labels: ["why"],
  },
  unmeteredAnswersTotal: {
    name: "fairlead_unmetered_answers_total",
    kind: "counter",
    help: "Answers of upstreams whose usage nobody counted, because the pool's object was away.",
    labels: [],
  },
  hedgesTotal: {
    name: "fairlead_hedges_total",
    kind: "counter",
    help: "Late answers asked for a second time: started, won by the second, or denied by the budget.",
    labels: ["outcome"],
  },
} as const satisfies Record<string, MetricDefinition>;
