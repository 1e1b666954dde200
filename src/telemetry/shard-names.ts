// Names of metrics about one pool's being spread over several objects; a part of METRIC. Each object has its own.

import type { MetricDefinition } from "./metrics.ts";

export const SHARD_METRIC = {
  shardMessagesTotal: {
    name: "fairlead_shard_messages_total",
    kind: "counter",
    help: "Messages of a pool's objects to the one that leads: answered, or failed.",
    labels: ["outcome"],
  },
  shardCount: {
    name: "fairlead_shard_count",
    kind: "gauge",
    help: "Objects that share the pool's requests.",
    labels: [],
  },
  shardSplits: {
    name: "fairlead_shard_splits",
    kind: "gauge",
    help: "Beginnings of prompts that are spread over the pool's objects by a later block.",
    labels: [],
  },
  shardCreditRequests: {
    name: "fairlead_shard_credit_requests",
    kind: "gauge",
    help: "Requests that the queue may let through before it asks the object that leads.",
    labels: [],
  },
  shardsAlone: {
    name: "fairlead_shards_alone",
    kind: "gauge",
    help: "Objects that go by their own share of the pool, because they have no credit of the one that leads.",
    labels: [],
  },
} as const satisfies Record<string, MetricDefinition>;
