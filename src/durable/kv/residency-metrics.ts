// What a pool's object shows of KV streams. Nothing, while no collector sends any.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { PoolState } from "../state.ts";
import type { ResidentKnowledge } from "./resident-knowledge.ts";

const ENDPOINT_GAUGES = [
  METRIC.kvResidentKeys,
  METRIC.kvPredictionWithinBlockRatio,
  METRIC.kvPredictionErrorTokens,
] as const;

/** Sets every series. */
export function showResidency(
  registry: MetricRegistry,
  { pool: name, endpoints, residency }: PoolState,
  { counts, predictionCounts }: Pick<ResidentKnowledge, "counts" | "predictionCounts">,
): void {
  if (residency === undefined) return;
  for (const knowledge of ["exact", "partial", "demoted", "none"] as const) {
    const known = endpoints.filter((endpoint) => endpoint.knowledge === knowledge).length;
    registry.set(METRIC.kvKnownEndpoints, { name, knowledge }, known);
  }
  registry.set(METRIC.kvIndexBlocks, { name }, residency.blocks);
  registry.set(METRIC.kvIndexPairs, { name }, residency.pairs);
  registry.set(METRIC.kvIndexBytes, { name }, residency.bytes);
  registry.set(METRIC.kvIndexShedTotal, { name }, residency.shed);
  registry.set(METRIC.kvReceivedKeysTotal, { name }, counts.keys);
  for (const [reason, asks] of Object.entries(counts.asks)) {
    registry.set(METRIC.kvStreamAsksTotal, { name, reason }, asks);
  }
  showEndpoints(registry, endpoints);
  for (const [outcome, count] of Object.entries(predictionCounts.verdicts)) {
    registry.set(METRIC.kvPredictionsTotal, { name, outcome }, count);
  }
  for (const [reason, count] of Object.entries(predictionCounts.skipped)) {
    registry.set(METRIC.kvPredictionsSkippedTotal, { name, reason }, count);
  }
  for (const [what, count] of Object.entries(predictionCounts.demotions)) {
    registry.set(METRIC.kvDemotionsTotal, { name, what }, count);
  }
  for (const [end, count] of Object.entries(predictionCounts.claimEnds)) {
    registry.set(METRIC.kvSpeculationEndsTotal, { name, end }, count);
  }
  registry.set(METRIC.kvDemotedModels, { name }, residency.demotedModels ?? 0);
}

/** Departed endpoints leave no stale series behind. */
function showEndpoints(registry: MetricRegistry, endpoints: PoolState["endpoints"]): void {
  for (const gauge of ENDPOINT_GAUGES) registry.reset(gauge);
  for (const { id, knownBlocks, cacheAccuracy } of endpoints) {
    const labels = { endpoint_name: id };
    registry.set(METRIC.kvResidentKeys, labels, knownBlocks ?? 0);
    if (cacheAccuracy === undefined) continue;
    const { compared, withinBlock, meanErrorTokens } = cacheAccuracy;
    registry.set(METRIC.kvPredictionWithinBlockRatio, labels, withinBlock / compared);
    registry.set(METRIC.kvPredictionErrorTokens, labels, meanErrorTokens);
  }
}
