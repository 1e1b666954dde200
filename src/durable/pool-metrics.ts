// What a PoolObject shows to Prometheus. Gauges are set from live state when they are read.

import { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import type { PoolState } from "./state.ts";
import type { JournalCounts } from "./prefix/journal.ts";

/** Sizes of what the pool knows of prefixes. */
interface PrefixSizes {
  readonly tree: { readonly blockCount: number; readonly byteLength: number };
  readonly journal: { readonly byteLength: number; readonly counts: Readonly<JournalCounts> };
}

/** The plugin that feeds the prefix tree; a label of llm-d's metrics. */
const PREFIX_PLUGIN = "prefix-cache-scorer";

const ENDPOINT_GAUGES = [
  METRIC.endpointQueueSize,
  METRIC.inflightRequests,
  METRIC.inflightTokens,
] as const;

/** A registry whose gauges show `state()` and `prefixes()` as they are at each render. */
export function createPoolMetrics(
  state: () => PoolState,
  prefixes: () => PrefixSizes,
): MetricRegistry {
  const registry = new MetricRegistry();
  registry.onRender(() => {
    const now = state();
    setGauges(registry, now);
    setPrefixSizes(registry, now.pool, prefixes());
  });
  return registry;
}

function setGauges(registry: MetricRegistry, state: PoolState): void {
  const name = state.pool;
  // Departed endpoints leave no stale series behind.
  for (const gauge of ENDPOINT_GAUGES) registry.reset(gauge);
  for (const endpoint of state.endpoints) {
    const labels = { name, model_server_endpoint: endpoint.address };
    registry.set(METRIC.endpointQueueSize, labels, endpoint.queueDepth);
    const byName = { endpoint_name: endpoint.id };
    registry.set(METRIC.inflightRequests, byName, endpoint.inFlightRequests);
    registry.set(METRIC.inflightTokens, byName, endpoint.inFlightTokens);
  }
  const fresh = state.endpoints.filter((endpoint) => endpoint.isFresh);
  registry.set(METRIC.readyEndpoints, { name }, fresh.length);
  const ejected = state.endpoints.filter((endpoint) => (endpoint.ejectedMs ?? 0) > 0);
  registry.set(METRIC.ejectedEndpoints, { name }, ejected.length);
  const average = (value: (endpoint: (typeof fresh)[number]) => number) =>
    fresh.reduce((sum, endpoint) => sum + value(endpoint), 0) / Math.max(1, fresh.length);
  registry.set(
    METRIC.averageKvUsage,
    { name },
    average((endpoint) => endpoint.kvUsage),
  );
  registry.set(
    METRIC.averageQueueSize,
    { name },
    average((endpoint) => endpoint.queueDepth),
  );
  registry.set(
    METRIC.averageRunning,
    { name },
    average((endpoint) => endpoint.runningRequests),
  );
  registry.set(METRIC.ticketsOpen, { name }, state.tickets.open);
  for (const role of ["collector", "relay"] as const) {
    const connected = state.agents.filter((agent) => agent.role === role).length;
    registry.set(METRIC.agentsConnected, { role }, connected);
  }
}

function setPrefixSizes(
  registry: MetricRegistry,
  name: string,
  { tree, journal }: PrefixSizes,
): void {
  registry.set(METRIC.prefixIndexerSize, { plugin_name: PREFIX_PLUGIN }, tree.blockCount);
  registry.set(METRIC.prefixTreeBytes, { name }, tree.byteLength);
  const { counts } = journal;
  registry.set(METRIC.prefixJournalBytes, { name }, journal.byteLength);
  registry.set(METRIC.prefixJournalWrittenBytesTotal, { name }, counts.writtenBytes);
  registry.set(METRIC.prefixJournalLeftOutBlocksTotal, { name }, counts.leftOutBlocks);
  registry.set(METRIC.prefixJournalRowsTotal, { name, outcome: "dropped" }, counts.droppedRows);
  registry.set(METRIC.prefixJournalRowsTotal, { name, outcome: "corrupt" }, counts.corruptRows);
}
