// The pool's endpoints: keeps the scheduler's table in step with membership and metrics.

import { engineOf } from "../agents/protocol/metrics-specification.ts";
import { ENGINE_LABELS } from "../scheduler/data-layer/engines.ts";
import {
  type CompiledSpecification,
  compileMetricsSpecification,
  type TopologyLabelNames,
} from "../scheduler/data-layer/compile.ts";
import type { MetricsSpecification } from "../scheduler/data-layer/specification.ts";
import { isFresh, isUnsampled } from "../scheduler/freshness.ts";
import { labelOf } from "../scheduler/labels.ts";
import { type EndpointSample, EndpointTable } from "../scheduler/model/endpoint-table.ts";
import {
  MULTICLUSTER_KV_USAGE,
  MULTICLUSTER_QUEUE_SIZE,
} from "../scheduler/plugins/extractor/multicluster-metrics-extractor.ts";
import { TOPOLOGY_LABELS } from "../scheduler/topology.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { ServedModels } from "./agent-frames.ts";
import type { EndpointState, ScrapeOutcome } from "./state.ts";
import { type ListedEndpoint, Membership } from "./membership.ts";
import { NO_SLOT } from "./tickets/ticket.ts";
import { type PoolUpstream, upstreamEndpoint } from "./upstreams/pool-upstream.ts";

/** A relay's word keeps an endpoint away for this long at most; relays say it again if need be. */
export const EJECTION_MS_MAX = 30_000;

export interface EndpointsOptions {
  readonly clock: Clock;
  /** The slot is free now: forget everything that names it. */
  readonly onRemoved: (slot: number) => void;
  /** The slot's engine is a new process, with an empty cache: forget what it was believed to hold. */
  readonly onRestarted: (slot: number) => void;
}

/** One scrape of one endpoint: complete, not a difference. */
export interface Scrape {
  readonly outcome: Exclude<ScrapeOutcome, "none">;
  readonly sampledAtMs: number;
  readonly sample: EndpointSample;
}

/** What the pool's endpoints serve, as far as they are asked. */
export interface ServedNames {
  readonly models: readonly string[];
  /** LoRA adapters that are active somewhere. */
  readonly adapters: readonly string[];
}

export class Endpoints {
  readonly table = new EndpointTable();
  readonly membership: Membership;
  readonly #options: EndpointsOptions;
  /** By endpoint id. */
  readonly #scrapes = new Map<string, ScrapeOutcome>();
  /** By endpoint id: what /v1/models lists, where it is asked for. */
  readonly #models = new Map<string, readonly string[]>();
  /** Nothing, until it is said. */
  #specification: MetricsSpecification = compileMetricsSpecification([]).specification;
  #topology: TopologyLabelNames | null = null;
  /** By address: which upstreams there are, and whether their load is read. */
  #upstreams: ReadonlyMap<string, boolean> = new Map();

  constructor(options: EndpointsOptions) {
    this.#options = options;
    this.membership = new Membership(options.clock);
  }

  /**
   * What is read of endpoints from now on. What was told of the rest is forgotten: nobody tells it anew.
   * `upstreams` are endpoints themselves.
   */
  configure(
    { specification, topology }: CompiledSpecification,
    upstreams: readonly PoolUpstream[] = [],
  ): void {
    this.table.defineScalars(scalarsOf(specification, upstreams));
    this.#specification = specification;
    this.#topology = topology;
    this.membership.configure(upstreams.map(upstreamEndpoint));
    this.#upstreams = new Map(upstreams.map(({ name, metrics }) => [name, metrics !== undefined]));
    this.sync();
    if (!this.#areModelsRead) this.#models.clear();
    for (const slot of this.table.slots()) {
      if (this.hasUpstreams) this.#followUpstream(slot);
      else if (!this.#areLoadsRead) this.table.forgetLoads(slot);
      if (!this.#areAdaptersRead(slot)) this.table.forgetAdapters(slot);
    }
  }

  /** The endpoints are upstreams, with no relay before them. */
  get hasUpstreams(): boolean {
    return this.#upstreams.size > 0;
  }

  /** Brings the table in step with the membership. An endpoint whose address changed is another. */
  sync(): void {
    const wanted = this.membership.endpoints();
    for (const slot of this.table.slots()) {
      const { id, address } = this.table.endpoint(slot)!;
      if (wanted.get(id)?.address !== address) this.#remove(slot, id);
    }
    // Never full and no address twice: the membership keeps both bounds.
    for (const endpoint of wanted.values()) {
      const isNew = this.table.slotOf(endpoint.id) === undefined;
      const labels = withUsualLabels(endpoint.labels, this.#topology);
      const slot = this.table.add({ ...endpoint, labels, engine: engineName(endpoint) });
      if (isNew && slot !== undefined) this.table.came(slot, this.#options.clock());
    }
  }

  /**
   * Takes a scrape of an address in the pool, unless a newer one was taken. The address says which
   * engine was read; the collector's name for it may have lost to another collector's.
   * A failed scrape leaves the loads as they were: they age, and a stale endpoint ranks last.
   */
  scraped(address: string, scrape: Scrape): void {
    const slot = this.slotOfAddress(address);
    if (slot === NO_SLOT) return;
    if (scrape.sampledAtMs < this.table.columns.sampledAtMs[slot]!) return;
    this.#scrapes.set(this.table.endpoint(slot)!.id, scrape.outcome);
    if (scrape.outcome !== "ok") return;
    const { scalars } = scrape.sample;
    const scalarsOnly = scalars === undefined ? {} : { scalars };
    const sample = this.#areLoadsRead || this.hasUpstreams ? scrape.sample : scalarsOnly;
    const isRestarted = this.table.applySample(slot, sample, scrape.sampledAtMs);
    if (!isRestarted) return;
    this.table.came(slot, this.#options.clock());
    this.#options.onRestarted(slot);
  }

  /** Takes what an endpoint of the pool serves, of what is read. */
  served({ endpoint, lora, models }: ServedModels): void {
    const slot = this.slotOfAddress(endpoint.address);
    if (slot === NO_SLOT) return;
    if (lora !== undefined && this.#areAdaptersRead(slot)) this.table.applyAdapters(slot, lora);
    if (models === undefined || !this.#areModelsRead) return;
    this.#models.set(this.table.endpoint(slot)!.id, models);
  }

  /**
   * A relay could not reach `address`: decisions avoid it for `leaseMs`. A longer lease that stands
   * is not shortened; 0 ends every lease, because the endpoint was reached after all.
   */
  eject(address: string, leaseMs: number): void {
    const slot = this.slotOfAddress(address);
    if (slot === NO_SLOT) return;
    if (!(leaseMs > 0)) return this.table.eject(slot, 0);
    const untilMs = this.#options.clock() + Math.min(leaseMs, EJECTION_MS_MAX);
    this.table.eject(slot, Math.max(untilMs, this.table.columns.ejectedUntilMs[slot]!));
  }

  slotOfAddress(address: string): number {
    return this.table.slotOfAddress(address) ?? NO_SLOT;
  }

  /** At most so many of each. */
  servedNames(namesMax: number): ServedNames {
    const models = new Set<string>();
    for (const listed of this.#models.values())
      for (const model of listed) if (models.size < namesMax) models.add(model);
    return { models: [...models], adapters: this.table.activeAdapters(namesMax) };
  }

  /** Every endpoint as it stands; bounded by the table. */
  describe(staleAfterMs: number): EndpointState[] {
    const { columns } = this.table;
    const nowMs = this.#options.clock();
    return Array.from(this.table.slots(), (slot) => {
      const { id, address, engine } = this.table.endpoint(slot)!;
      const models = this.#models.get(id);
      const ageMs = nowMs - columns.sampledAtMs[slot]!;
      const own = this.table.ownLoad(slot);
      return {
        id,
        address,
        engine,
        sampleAgeMs: Number.isFinite(ageMs) ? ageMs : null,
        isFresh: isFresh({ endpoints: columns, nowMs, staleAfterMs }, slot),
        ejectedMs: Math.max(0, columns.ejectedUntilMs[slot]! - nowMs),
        scrape: this.#scrapes.get(id) ?? "none",
        queueDepth: columns.queueDepth[slot]!,
        runningRequests: columns.runningRequests[slot]!,
        kvUsage: columns.kvUsage[slot]!,
        kvCapacityTokens: columns.kvCapacityTokens[slot]!,
        // The columns count those of the pool's other objects, too.
        inFlightRequests: own.requests,
        inFlightTokens: own.tokens,
        lora: {
          active: columns.adapters.activeCount(slot),
          waiting: columns.adapters.waitingCount(slot),
          max: columns.adapters.maxActive(slot),
        },
        ...(models === undefined ? {} : { models }),
      };
    });
  }

  // A collector learns of a new configuration later than we: what is not read any more may still come.

  get #areLoadsRead(): boolean {
    return this.#specification.metrics !== null;
  }

  get #areModelsRead(): boolean {
    return this.#specification.models !== null;
  }

  #areAdaptersRead(slot: number): boolean {
    const engine = engineOf(this.#specification, this.table.endpoint(slot)!.labels);
    return this.#areLoadsRead && engine !== undefined && engine.lora !== null;
  }

  /** One whose load nobody reads has none to be stale. */
  #followUpstream(slot: number): void {
    const isRead = this.#upstreams.get(this.table.endpoint(slot)!.address) === true;
    const isUnread = isUnsampled({ endpoints: this.table.columns }, slot);
    if (!isRead) this.table.goUnsampled(slot);
    else if (isUnread) this.table.forgetLoads(slot);
  }

  #remove(slot: number, id: string): void {
    this.#scrapes.delete(id);
    this.#models.delete(id);
    this.table.remove(slot);
    this.#options.onRemoved(slot);
  }
}

/** What upstreams publish is there for any plugin that names it, as far as there is room. */
function scalarsOf(
  { scalars }: MetricsSpecification,
  upstreams: readonly PoolUpstream[],
): readonly string[] {
  if (upstreams.every(({ metrics }) => metrics === undefined)) return scalars;
  return [...new Set([...scalars, MULTICLUSTER_QUEUE_SIZE, MULTICLUSTER_KV_USAGE])];
}

/** The label knows engines that the wire's own list does not have. */
function engineName({ labels, engine }: ListedEndpoint): string {
  const label = ENGINE_LABELS.find((key) => (labels[key] ?? "") !== "");
  return label === undefined ? engine : labels[label]!;
}

/** Where an endpoint is stands under other names in this pool: also under the usual ones, then. */
function withUsualLabels(
  labels: ListedEndpoint["labels"],
  topology: TopologyLabelNames | null,
): ListedEndpoint["labels"] {
  if (topology === null) return labels;
  const names = [topology.hostname, topology.rack, topology.zone, topology.region];
  const usual = { ...labels };
  TOPOLOGY_LABELS.forEach((label, level) => {
    const value = labelOf(labels, names[level]!);
    if (value === undefined) delete usual[label];
    else usual[label] = value;
  });
  return usual;
}
