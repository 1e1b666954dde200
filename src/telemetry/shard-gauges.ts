// What a gauge of a pool is whose objects each have their own: here, and nowhere else.
//
//   sum    each object has a part: of requests, of what is known of prompts
//   mean   each has an estimate of the same thing, or a share of one
//   max    each sees the same thing, some of them late; and whatever is worse the more it is
//   min    whatever is worse the less it is
//
// Counters and histograms are always added up.

import { FLOW_CONTROL_METRIC as FLOW } from "./flow-control-names.ts";
import { KV_STREAM_METRIC as KV } from "./kv-stream-names.ts";
import { METRIC } from "./names.ts";
import type { MetricDefinition } from "./metrics.ts";

export type GaugeRule = "sum" | "mean" | "max" | "min";

const RULES: Readonly<Record<GaugeRule, readonly MetricDefinition[]>> = {
  sum: [
    METRIC.inflightRequests,
    METRIC.inflightTokens,
    METRIC.ticketsOpen,
    // Blocks above the splits are in every object, and count in each.
    METRIC.prefixIndexerSize,
    METRIC.prefixTreeBytes,
    METRIC.prefixJournalBytes,
    METRIC.poolDigestBytes,
    KV.kvIndexBlocks,
    KV.kvIndexPairs,
    KV.kvIndexBytes,
    KV.kvResidentKeys,
    FLOW.queueSize,
    FLOW.queueBytes,
    FLOW.bandDrainRate,
    FLOW.queueOpenWaits,
    FLOW.queuePlaces,
    FLOW.queueInFlight,
    METRIC.shardCreditRequests,
    METRIC.shardsAlone,
    METRIC.edgeCreditOutstanding,
  ],
  mean: [
    METRIC.averageKvUsage,
    METRIC.averageQueueSize,
    METRIC.averageRunning,
    // Of each endpoint one object may know all, and another one nothing: the sum over labels stays.
    KV.kvKnownEndpoints,
    KV.kvPredictionWithinBlockRatio,
    KV.kvPredictionErrorTokens,
    FLOW.poolSaturation,
    // Each object has the limits of the configuration for itself.
    FLOW.capacityRequests,
    FLOW.capacityBytes,
    FLOW.capacityTokens,
    FLOW.globalCapacityRequests,
    FLOW.globalCapacityBytes,
    FLOW.globalCapacityTokens,
  ],
  max: [
    METRIC.endpointQueueSize,
    METRIC.ejectedEndpoints,
    METRIC.agentsConnected,
    METRIC.clusterResources,
    METRIC.clusterResourcesIgnored,
    KV.kvDemotedModels,
    FLOW.staleEndpoints,
    FLOW.bandOldestSeconds,
    // A flow may be in several objects: there are at least so many.
    FLOW.bandFlows,
    METRIC.shardCount,
    METRIC.shardSplits,
  ],
  min: [METRIC.readyEndpoints, FLOW.bandCeiling, FLOW.bandFairness],
};

const RULE_OF: ReadonlyMap<string, GaugeRule> = new Map(
  Object.entries(RULES).flatMap(([rule, gauges]) =>
    gauges.map(({ name }) => [name, rule as GaugeRule] as const),
  ),
);

/** Undefined for a gauge that no object of a pool had when this was written. */
export function gaugeRuleOf(name: string): GaugeRule | undefined {
  return RULE_OF.get(name);
}
