// Names of what relays and collectors tell of learning what content becomes, a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const LEARNING_METRIC = {
  relayLearningTotal: {
    name: "fairlead_relay_learning_prompts_total",
    kind: "counter",
    help: "Prompts of answered requests as something to learn what content becomes from, by what became of them.",
    labels: ["outcome"],
  },
  relayLearningAnswersTotal: {
    name: "fairlead_relay_learning_answers_total",
    kind: "counter",
    help: "Answers whose prompt was learned from or known, by what became of the conversation that they make of it.",
    labels: ["outcome"],
  },
  relayLearningHeldBytes: {
    name: "fairlead_relay_learning_held_bytes",
    kind: "gauge",
    help: "Memory of answers that have not ended, kept to learn from.",
    labels: [],
  },
  relayLearningAskedTotal: {
    name: "fairlead_relay_learning_asked_total",
    kind: "counter",
    help: "Questions to engines about prompts' tokens, by what was asked for.",
    labels: ["what"],
  },
  relayLearningMediaBlocks: {
    name: "fairlead_relay_learning_media_blocks_total",
    kind: "counter",
    help: "Content blocks from a media item on, of learned prompts, that stay unknown.",
    labels: [],
  },
  relayLearningToldTotal: {
    name: "fairlead_relay_learning_messages_total",
    kind: "counter",
    help: "Learned prompts told to collectors, each time one was, by outcome.",
    labels: ["outcome"],
  },
  relayLearningWaiting: {
    name: "fairlead_relay_learning_waiting",
    kind: "gauge",
    help: "Requests that wait to be learned from.",
    labels: [],
  },
  relayLearningStoredBytes: {
    name: "fairlead_relay_learning_stored_bytes",
    kind: "gauge",
    help: "Learned prompts that are kept for collectors that begin anew.",
    labels: [],
  },
  collectorLearningTotal: {
    name: "fairlead_collector_learning_messages_total",
    kind: "counter",
    help: "Messages of relays about what content became, by outcome.",
    labels: ["outcome"],
  },
  kvAccountEndpointBytes: {
    name: "fairlead_kv_account_endpoint_bytes",
    kind: "gauge",
    help: "Memory of what an endpoint's KV events say, in the engine's own hashes.",
    labels: ["endpoint"],
  },
  kvAccountHeldBlocks: {
    name: "fairlead_kv_account_held_blocks",
    kind: "gauge",
    help: "Token blocks that an endpoint holds, on any tier of its own.",
    labels: ["endpoint"],
  },
  kvAccountLearnedBlocks: {
    name: "fairlead_kv_account_learned_blocks",
    kind: "gauge",
    help: "Token blocks that an endpoint holds and of which it is known what content became them.",
    labels: ["endpoint"],
  },
  kvAccountKnownBlocks: {
    name: "fairlead_kv_account_known_blocks",
    kind: "gauge",
    help: "Token blocks of an endpoint that are known, held or not.",
    labels: ["endpoint"],
  },
  kvAccountBytes: {
    name: "fairlead_kv_account_bytes",
    kind: "gauge",
    help: "Memory of the whole account: what all endpoints hold, what content became, and what is behind what.",
    labels: [],
  },
  kvAccountContentBlocks: {
    name: "fairlead_kv_account_content_blocks",
    kind: "gauge",
    help: "Content blocks of which it is known what token blocks they became.",
    labels: [],
  },
  kvAccountLearnedTotal: {
    name: "fairlead_kv_account_learned_prompts_total",
    kind: "counter",
    help: "Prompts that were learned, each time one was told.",
    labels: [],
  },
  kvAccountUnfollowedTotal: {
    name: "fairlead_kv_account_unfollowed_blocks_total",
    kind: "counter",
    help: "Blocks that engines announced or removed and that were not followed, by why.",
    labels: ["reason"],
  },
  kvAccountDroppedTotal: {
    name: "fairlead_kv_account_dropped_total",
    kind: "counter",
    help: "What was forgotten or never taken up by the account: blocks, events and prompts, by why.",
    labels: ["reason"],
  },
} as const satisfies Record<string, MetricDefinition>;
