// What happened to an endpoint's KV events, in plain numbers: messages come too fast for a registry.

import {
  KV_UNCERTAIN_REASONS,
  type KvEvent,
  type KvUncertainReason,
} from "../../../scheduler/kv/residency/kv-event.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";

/**
 * Endpoints counted each by itself: with every reason there is, their series fit into the registry. Further
 * ones are counted together, and so is what was counted of those that have gone.
 */
export const COUNTED_ENDPOINTS_MAX = 800;
/** The endpoint as which they are; the registry has it for values past its bounds. */
const OTHER = "other";
/** Pool-wide storage, and what is counted of others, are of no endpoint, and stay. */
const KEPT: readonly string[] = ["storage", OTHER];

const EVENTS = ["stored", "removed", "cleared"] as const satisfies KvEvent["type"][];
const SKIPPED = [
  "unknown",
  "unkeyable",
  "malformed",
  /** Batches that could not be read at all, and messages that are none. */
  "undecodable",
  "frames",
  "duplicate",
] as const;
const BREAKS = ["gap", "restart"] as const;
const REPLAYS = ["complete", "history-lost", "failed"] as const;

function zeros<const Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
}

const SERIES = [
  METRIC.kvEventMessagesTotal,
  METRIC.kvEventReconnectionsTotal,
  METRIC.kvEventsTotal,
  METRIC.kvEventBlocksTotal,
  METRIC.kvEventSkippedTotal,
  METRIC.kvEventBreaksTotal,
  METRIC.kvEventReplaysTotal,
  METRIC.kvEventUncertainTotal,
] as const;

/** Of one endpoint, all its ranks together. Whoever sees something happen adds to it. */
export class EndpointCounts {
  messages = 0;
  reconnections = 0;
  readonly events = zeros(EVENTS);
  readonly blocks = zeros(["stored", "removed"]);
  readonly skipped = zeros(SKIPPED);
  readonly breaks = zeros(BREAKS);
  readonly replays = zeros(REPLAYS);
  readonly uncertain: Record<KvUncertainReason, number> = zeros(KV_UNCERTAIN_REASONS);

  add(other: EndpointCounts): void {
    this.messages += other.messages;
    this.reconnections += other.reconnections;
    addTo(this.events, other.events);
    addTo(this.blocks, other.blocks);
    addTo(this.skipped, other.skipped);
    addTo(this.breaks, other.breaks);
    addTo(this.replays, other.replays);
    addTo(this.uncertain, other.uncertain);
  }
}

/** The counts of every endpoint that is there, and the sum of all that were. */
export class KvEventCounts {
  readonly #byEndpoint = new Map<string, EndpointCounts>();
  /** Messages of publishers that are no known endpoint. */
  foreign = 0;

  of(endpoint: string): EndpointCounts {
    let counts = this.#byEndpoint.get(endpoint);
    if (counts !== undefined) return counts;
    if (this.#byEndpoint.size >= COUNTED_ENDPOINTS_MAX && !KEPT.includes(endpoint)) {
      return this.of(OTHER);
    }
    counts = new EndpointCounts();
    this.#byEndpoint.set(endpoint, counts);
    return counts;
  }

  /** These endpoints and no others are there. */
  keep(endpoints: readonly { readonly id: string }[]): void {
    const kept = new Set([...KEPT, ...endpoints.map(({ id }) => id)]);
    for (const [endpoint, counts] of this.#byEndpoint) {
      if (kept.has(endpoint)) continue;
      this.#byEndpoint.delete(endpoint);
      this.of(OTHER).add(counts);
    }
  }

  /** Sets every series. Zeros are left out until something happened. */
  render(registry: MetricRegistry): void {
    for (const metric of SERIES) registry.reset(metric);
    if (this.foreign > 0) registry.set(METRIC.kvEventForeignTotal, {}, this.foreign);
    for (const [endpoint, counts] of this.#byEndpoint) {
      const pod = { pod_identifier: endpoint };
      registry.set(METRIC.kvEventMessagesTotal, pod, counts.messages);
      registry.set(METRIC.kvEventReconnectionsTotal, pod, counts.reconnections);
      for (const [event, count] of nonZero(counts.events)) {
        registry.set(METRIC.kvEventsTotal, { endpoint, event }, count);
      }
      for (const [event, count] of nonZero(counts.blocks)) {
        registry.set(METRIC.kvEventBlocksTotal, { endpoint, event }, count);
      }
      for (const [reason, count] of nonZero(counts.skipped)) {
        registry.set(METRIC.kvEventSkippedTotal, { endpoint, reason }, count);
      }
      for (const [kind, count] of nonZero(counts.breaks)) {
        registry.set(METRIC.kvEventBreaksTotal, { endpoint, kind }, count);
      }
      for (const [outcome, count] of nonZero(counts.replays)) {
        registry.set(METRIC.kvEventReplaysTotal, { endpoint, outcome }, count);
      }
      for (const [reason, count] of nonZero(counts.uncertain)) {
        registry.set(METRIC.kvEventUncertainTotal, { endpoint, reason }, count);
      }
    }
  }
}

function nonZero(counts: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(counts).filter(([, count]) => count > 0);
}

function addTo<Name extends string>(sum: Record<Name, number>, by: Record<Name, number>): void {
  for (const name of Object.keys(sum) as Name[]) sum[name] += by[name];
}
