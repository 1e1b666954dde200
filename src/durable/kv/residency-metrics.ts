// What a pool's object shows of KV streams. Nothing, while no collector sends any.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { PoolState } from "../contract.ts";
import type { ResidentKnowledge } from "./resident-knowledge.ts";

/** Sets every series. */
export function showResidency(
  registry: MetricRegistry,
  { pool: name, endpoints, residency }: PoolState,
  { counts }: Pick<ResidentKnowledge, "counts">,
): void {
  if (residency === undefined) return;
  for (const knowledge of ["exact", "partial", "none"] as const) {
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
}
