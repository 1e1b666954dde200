// Names of what relays tell of requests whose prefill runs apart, a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

const PHASE_SECONDS = [
  0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 4, 6, 8, 12, 16,
  24, 32, 48, 64,
];

export const DISAGGREGATION_METRIC = {
  relayPrefillsTotal: {
    name: "fairlead_relay_prefills_total",
    kind: "counter",
    help: "Prefills asked of endpoints, or not, by how each ended.",
    labels: ["connector", "outcome"],
  },
  relaySplitsTotal: {
    name: "fairlead_relay_splits_total",
    kind: "counter",
    help: "Requests that were to be split, by what they became.",
    labels: ["connector", "result"],
  },
  relayStrandedTotal: {
    name: "fairlead_relay_stranded_handoffs_total",
    kind: "counter",
    help: "Prefills that ended well and whose blocks no decoder came for: they stay until their lease ends.",
    labels: ["connector"],
  },
  relayStageOffListTotal: {
    name: "fairlead_relay_stage_off_list_total",
    kind: "counter",
    help: "Addresses in stage headers that are no endpoint of this relay, and were left out.",
    labels: ["stage"],
  },
  relayEncodesTotal: {
    name: "fairlead_relay_encodes_total",
    kind: "counter",
    help: "Requests whose items were to be encoded apart, by what that came to.",
    labels: ["outcome"],
  },
  relayPrefillSeconds: {
    name: "fairlead_relay_prefill_seconds",
    kind: "histogram",
    help: "A prefill that ended well, from its first byte sent to the last received.",
    labels: ["connector"],
    buckets: PHASE_SECONDS,
  },
  relayHandOffSeconds: {
    name: "fairlead_relay_handoff_seconds",
    kind: "histogram",
    help: "Decoder asked to first body byte, where a prefill was handed over: transfer, wait and first token.",
    labels: ["connector"],
    buckets: PHASE_SECONDS,
  },
} as const satisfies Record<string, MetricDefinition>;
