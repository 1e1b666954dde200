// Names of what a collector tells of KV events, a part of METRIC. Those of llm-d's EPP have its labels.

import { LEARNING_METRIC } from "./learning-names.ts";
import { KV_STREAM_METRIC } from "./kv-stream-names.ts";
import type { MetricDefinition } from "./metrics.ts";
import { TOKEN_KEY_METRIC } from "./token-key-names.ts";

export const KV_EVENT_METRIC = {
  ...KV_STREAM_METRIC,
  ...LEARNING_METRIC,
  ...TOKEN_KEY_METRIC,

  kvSubscribersActive: {
    name: "llm_d_epp_kv_cache_events_active_subscribers",
    kind: "gauge",
    help: "Publishers of KV events whose socket is connected.",
    labels: [],
  },
  kvEventReconnectionsTotal: {
    name: "llm_d_epp_kv_cache_events_subscriber_reconnections_total",
    kind: "counter",
    help: "Connections to a publisher of KV events after the first.",
    labels: ["pod_identifier"],
  },
  kvEventMessagesTotal: {
    name: "llm_d_epp_kv_cache_events_messages_received_total",
    kind: "counter",
    help: "Live messages of KV events, duplicates included.",
    labels: ["pod_identifier"],
  },
  kvEventsTotal: {
    name: "fairlead_kv_events_total",
    kind: "counter",
    help: "KV events applied, live and replayed.",
    labels: ["endpoint", "event"],
  },
  kvEventBlocksTotal: {
    name: "fairlead_kv_event_blocks_total",
    kind: "counter",
    help: "Blocks that applied KV events named.",
    labels: ["endpoint", "event"],
  },
  kvEventSkippedTotal: {
    name: "fairlead_kv_events_skipped_total",
    kind: "counter",
    help: "KV events, batches and messages that were not applied, by why.",
    labels: ["endpoint", "reason"],
  },
  kvEventBreaksTotal: {
    name: "fairlead_kv_event_breaks_total",
    kind: "counter",
    help: "Breaks in a publisher's numbering: batches missing, or a new process.",
    labels: ["endpoint", "kind"],
  },
  kvEventReplaysTotal: {
    name: "fairlead_kv_event_replays_total",
    kind: "counter",
    help: "Replays of KV events that were asked for, by how they ended.",
    labels: ["endpoint", "outcome"],
  },
  kvEventUncertainTotal: {
    name: "fairlead_kv_events_uncertain_total",
    kind: "counter",
    help: "Times that what was known of an endpoint's cache had to be distrusted, by why.",
    labels: ["endpoint", "reason"],
  },
  kvEventsWhole: {
    name: "fairlead_kv_events_whole",
    kind: "gauge",
    help: "1 where everything an endpoint's cache holds was told, 0 where something may be missing.",
    labels: ["endpoint"],
  },
  kvEventForeignTotal: {
    name: "fairlead_kv_events_foreign_total",
    kind: "counter",
    help: "Messages from publishers that are no known endpoint, where publishers dial.",
    labels: [],
  },
} as const satisfies Record<string, MetricDefinition>;
