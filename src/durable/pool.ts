// PoolObject: one InferencePool's endpoints, tickets and decisions. One object per pool.
//
// In memory: endpoints and their loads, what is believed of their caches, open tickets, decision
// records. In SQLite: configuration, last known membership, settled usage. A pick writes nothing.
// An object that lost its memory picks at once among the endpoints it remembers, as never sampled,
// and asks its agents for everything else.
//
// Objects are created by the directory (`configure`); one that was not configured refuses to serve.

import { DurableObject } from "cloudflare:workers";
import type { EndpointRecord, TicketReport } from "../agents/protocol/messages.ts";
import type { CompiledSpecification } from "../scheduler/data-layer/compile.ts";
import { explainAll } from "../scheduler/decisions/explain.ts";
import { QueueRefusals } from "../scheduler/decisions/queue-refusals.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import { AgentConnections, POOL_UPGRADE_HEADER } from "./agent-connection.ts";
import type { AgentEvents } from "./agent-events.ts";
import {
  type BuiltConfig,
  buildConfig,
  readConfig,
  rebuildConfig,
  withPriorities,
} from "./built-config.ts";
import type {
  DecisionPage,
  DecisionQuery,
  PoolExplanation,
  PoolState,
  QueueState,
} from "./state.ts";
import type { PickRequest, PoolObjectConfig, PoolSnapshot } from "./contract.ts";
import { Endpoints, type Scrape } from "./endpoints.ts";
import { type PickAnswer, PickAnswers } from "./pick-answers.ts";
import { showResidency } from "./kv/residency-metrics.ts";
import { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import { Picks } from "./picks.ts";
import { createPoolMetrics } from "./pool-metrics.ts";
import { JournalStorage } from "./prefix/journal-storage.ts";
import { PrefixMemory } from "./prefix/memory.ts";
import { takeSnapshot } from "./pool-snapshot.ts";
import { QueueMetrics } from "./queue-metrics.ts";
import { PoolStorage, type StoredConfig } from "./pool-storage.ts";
import { KeptDebts } from "./queue/kept-debts.ts";
import { ClusterResources } from "./resources/pool-resources.ts";
import { PoolReports, type ReportsEnv } from "./summary/pool-reports.ts";
import { SettledTickets } from "./tickets/settled.ts";
import { randomHex, randomSeed, systemClock } from "./system.ts";
import type { Settlement } from "./tickets/ticket.ts";
import type { RelayLife } from "./tickets/ticket.ts";
import { fetcherOf } from "../config/bindings.ts";
import { UpstreamLoads } from "./upstreams/upstream-loads.ts";
import { Usage } from "./usage.ts";

/** Expiries are looked at, and usage is written, at most this often; nothing ticks when idle. */
const TICK_MS = 500;

export class PoolObject extends DurableObject {
  readonly #objectEpoch = randomHex(8);
  readonly #stored: PoolStorage;
  readonly #registry: MetricRegistry;
  readonly #queueMetrics: QueueMetrics;
  readonly #refusals = new QueueRefusals();
  readonly #usage: Usage;
  readonly #settled: SettledTickets;
  readonly #endpoints: Endpoints;
  readonly #prefixes: PrefixMemory;
  readonly #resident: ResidentKnowledge;
  readonly #picks: Picks;
  readonly #answers: PickAnswers;
  readonly #debts: KeptDebts;
  readonly #agents: AgentConnections;
  readonly #reports: PoolReports;
  readonly #resources: ClusterResources;
  #built: BuiltConfig;
  #config: StoredConfig;
  #compiled: CompiledSpecification;
  readonly #upstreamLoads: UpstreamLoads;
  #tickTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(ctx: DurableObjectState, env: ReportsEnv) {
    super(ctx, env);
    this.#stored = new PoolStorage(ctx.storage);
    this.#registry = createPoolMetrics(
      () => this.state(),
      () => this.#prefixes,
    );
    this.#registry.onRender(() => showResidency(this.#registry, this.state(), this.#resident));
    this.#queueMetrics = new QueueMetrics({
      registry: this.#registry,
      clock: systemClock,
      pool: () => this.#config.config?.name ?? "",
    });
    this.#registry.onRender(() => this.#queueMetrics.show(this.queueState()));
    const built = rebuildConfig(this.#stored.config(), this.#pluginFailed);
    this.#built = built;
    this.#config = built.stored;
    this.#compiled = built.compiled;
    if (this.#config.isFallback === true) this.#registry.inc(METRIC.configFallbacksTotal, {});
    this.#usage = new Usage(this.#registry);
    this.#settled = new SettledTickets((ticket) => this.#stored.isSettled(ticket));
    this.#endpoints = new Endpoints({
      clock: systemClock,
      onRemoved: (slot) => this.#picks.endpointRemoved(slot),
      onRestarted: (slot) => this.#picks.endpointRestarted(slot),
    });
    for (const { agent, endpoints } of this.#stored.claims()) {
      this.#endpoints.membership.restore(agent, endpoints);
    }
    this.#endpoints.configure(this.#compiled, this.#config.config?.upstreams);
    // After the endpoints: the journal tells by them which of its rows are still about somebody.
    this.#prefixes = new PrefixMemory({
      store: new JournalStorage(ctx.storage),
      table: this.#endpoints.table,
      clock: systemClock,
    });
    this.#prefixes.restore();
    this.#resident = this.#createResident();
    this.#picks = new Picks({
      epoch: this.#objectEpoch,
      clock: systemClock,
      seed: randomSeed,
      endpoints: this.#endpoints,
      prefixes: this.#prefixes,
      resident: this.#resident,
      registry: this.#registry,
      onSettled: (settlement) => this.#settle(settlement),
      isSettled: (ticket) => this.#settled.has(ticket),
      evict: (victim, relay) => void this.#agents.evict(victim, relay),
      tickNeeded: () => this.#scheduleTick(),
      queueEnded: (end) => this.#queueMetrics.queueEnded(end),
      queueAskedAgain: () => this.#queueMetrics.queueAskedAgain(),
      queueRefused: (refusal) => this.#refusals.add(refusal),
    });
    this.#answers = new PickAnswers(this.#picks, () => this.#snapshot());
    this.#resources = this.#createResources(env);
    this.#configurePicks();
    this.#debts = new KeptDebts(ctx.storage);
    this.#picks.admission.queue?.restoreDebts(this.#debts.read(systemClock()));
    this.#reports = this.#createReports(env);
    // Last: it greets the sockets that survived, and everything they may cause must stand.
    this.#agents = new AgentConnections({
      ctx,
      objectEpoch: this.#objectEpoch,
      clock: systemClock,
      registry: this.#registry,
      events: this.#agentEvents(),
    });
    this.#upstreamLoads = this.#createUpstreamLoads(env);
    this.#upstreamLoads.configure(this.#config.config?.upstreams ?? []);
    this.#scheduleTick();
  }

  /**
   * Puts a configuration in force. The directory calls it with rising versions, perhaps twice and
   * perhaps late; an older one is ignored. One that this release cannot read or make is refused, and
   * the old one stays: the directory may be of a later release.
   */
  configure(config: PoolObjectConfig, version: number): void {
    if (version <= this.#config.version) return;
    this.#setConfig({ version, config: readConfig(config) });
    this.#agents.configure();
  }

  /** The pool is no longer in the configuration: its agents are sent away and picks refused. */
  retire(version: number): void {
    if (version <= this.#config.version) return;
    this.#setConfig({ version, config: null });
    this.#resources.forget();
    this.#agents.closeAll();
  }

  /**
   * Endpoints for a request, and the handle that guards the grant. Again with the same attempt: the
   * same grant while it is open, with a new handle in place of the old one. Where the pool is full, a
   * wait.
   */
  pick(request: PickRequest): PickAnswer {
    const answer = this.#answers.pick(request);
    this.#scheduleTick();
    return answer;
  }

  /** See PoolPort. */
  leave(requestId: string, attempt: number): void {
    this.#picks.admission.queue?.leave(requestId, attempt);
  }

  /** Why the request went where it went, for each of its attempts that is still on record. */
  explain(requestId: string): PoolExplanation {
    const records = this.#picks.records(requestId);
    const refused = this.#refusals.find(requestId);
    const pools = this.#picks.poolChoice(requestId);
    const pool = this.#config.config?.name ?? "";
    return {
      isConfigured: this.#config.config !== null,
      objectEpoch: this.#objectEpoch,
      explanation: explainAll({ requestId, pool, refused, pools }, records) ?? null,
    };
  }

  /** Recorded decisions, newest first, as many as a page has. */
  decisions(query: DecisionQuery): DecisionPage {
    return {
      pool: this.#config.config?.name ?? "",
      isConfigured: this.#config.config !== null,
      objectEpoch: this.#objectEpoch,
      ...this.#picks.page(query),
    };
  }

  /** Prometheus text format. */
  metrics(): string {
    return this.#registry.render();
  }

  state(): PoolState {
    const { version, config } = this.#config;
    return {
      pool: config?.name ?? "",
      isConfigured: config !== null,
      configVersion: version,
      objectEpoch: this.#objectEpoch,
      staleAfterMs: this.#picks.staleAfterMs,
      endpoints: this.#resident.describe(this.#endpoints.describe(this.#picks.staleAfterMs)),
      agents: this.#agents.agents(),
      tickets: this.#picks.tickets,
      ...(this.#picks.shadow === undefined ? {} : { shadow: this.#picks.shadow }),
      ...(this.#resident.state === undefined ? {} : { residency: this.#resident.state }),
      ...this.#resources.state,
    };
  }

  /** What waits; null while the configuration has no flow control. */
  queueState(): QueueState | null {
    return this.#picks.admission.state();
  }

  /** An agent's upgrade, passed on by the Pools entrypoint. */
  override fetch(request: Request): Response {
    const pool = request.headers.get(POOL_UPGRADE_HEADER);
    if (pool === null) return new Response("only the Pools entrypoint may ask\n", { status: 403 });
    if (this.#config.config?.name !== pool) {
      return new Response(`pool ${pool} is not configured\n`, { status: 404 });
    }
    return this.#agents.accept();
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#agents.received(socket, message);
    this.#reports.noticed();
  }

  override webSocketClose(socket: WebSocket): void {
    this.#agents.closed(socket);
    this.#reports.noticed();
    // The runtime leaves the answering close of a hibernating socket to us; agents wait for it.
    socket.close(1000);
  }

  override webSocketError(socket: WebSocket): void {
    this.#agents.closed(socket);
    this.#reports.noticed();
  }

  #createResident(): ResidentKnowledge {
    return new ResidentKnowledge({
      table: this.#endpoints.table,
      clock: systemClock,
      firstStream: randomSeed(),
      approximate: (keys, matchedBlocks) => this.#prefixes.tree.match(keys, matchedBlocks),
      tell: (agent, message) => this.#agents.tellCollector(agent, message),
      defer: (callback) => void setTimeout(callback, 0),
      silentAfterMs: () => this.#picks.staleAfterMs,
    });
  }

  #createReports(env: ReportsEnv): PoolReports {
    return new PoolReports({
      env,
      incarnation: this.#objectEpoch,
      clock: systemClock,
      registry: this.#registry,
      endpoints: this.#endpoints,
      prefixes: this.#prefixes,
      resident: this.#resident,
      configured: () => {
        const { version, config } = this.#config;
        return config === null ? undefined : { pool: config.name, configVersion: version };
      },
      staleAfterMs: () => this.#picks.staleAfterMs,
      outlook: () => this.#picks.admission.outlook(),
      agentCount: () => this.#agents.count,
      isBusy: () => this.#needsTick(),
    });
  }

  #snapshot(): PoolSnapshot {
    const at = { nowMs: systemClock(), staleAfterMs: this.#picks.staleAfterMs };
    const snapshot = takeSnapshot(this.#endpoints.table, { ...at, start: Math.random() });
    const summary = this.#reports.summary();
    return summary === undefined ? snapshot : { ...snapshot, summary };
  }

  /** Types are bounded by the registry. */
  readonly #pluginFailed = (type: string): void => {
    this.#registry.inc(METRIC.pluginFailuresTotal, { plugin_type: type });
  };

  #setConfig(next: StoredConfig): void {
    const built = buildConfig(next, this.#pluginFailed);
    this.#stored.setConfig(next.version, next.config);
    this.#built = built;
    this.#config = next;
    this.#compiled = built.compiled;
    this.#endpoints.configure(this.#compiled, next.config?.upstreams);
    this.#configurePicks();
    this.#resources.configured();
    this.#reports.noticed();
    this.#upstreamLoads.configure(next.config?.upstreams ?? []);
  }

  #configurePicks(): void {
    this.#picks.configure(withPriorities(this.#built, this.#resources.priorities));
  }

  #createResources(env: ReportsEnv): ClusterResources {
    return new ClusterResources({
      storage: this.ctx.storage,
      control: env.CONTROL,
      clock: systemClock,
      registry: this.#registry,
      pool: () => this.#config.config?.name,
      onChanged: () => this.#configurePicks(),
    });
  }

  #createUpstreamLoads(env: object): UpstreamLoads {
    return new UpstreamLoads({
      clock: systemClock,
      binding: (name) => fetcherOf(env, name),
      scraped: (address, scrape) => this.#scraped(address, scrape),
    });
  }

  #scraped(address: string, scrape: Scrape): void {
    this.#endpoints.scraped(address, scrape);
    this.#picks.admission.queue?.drainSoon();
  }

  #agentEvents(): AgentEvents {
    const { membership } = this.#endpoints;
    return {
      config: () => this.#config.config ?? undefined,
      specification: () => this.#compiled.specification,
      acked: (reporter) => this.#stored.acked(reporter),
      collectorConnected: (agent) => membership.connected(agent),
      collectorDisconnected: (agent) => {
        membership.disconnected(agent);
        this.#resident.disconnected(agent);
        this.#scheduleTick();
      },
      claimed: (agent, endpoints) => this.#claimed(agent, endpoints),
      scraped: (address, scrape) => this.#scraped(address, scrape),
      served: (served) => this.#endpoints.served(served),
      relayConnected: (relay) => this.#picks.relayConnected(relay),
      reported: (report, relay) => this.#reported(report, relay),
      started: (tickets) => {
        for (const { ticket, attempt } of tickets) this.#picks.started(ticket, attempt);
      },
      wantsFirstBytes: () => this.#picks.admission.mayEvict,
      marked: ({ endpoint, leaseMs }) => {
        this.#endpoints.eject(endpoint, leaseMs);
        this.#picks.admission.queue?.drainSoon();
      },
      collectorHeard: (agent) => {
        this.#reports.collectorHeard();
        this.#resident.heard(agent);
        this.#resources.push();
      },
      resourcesTold: (resources) => this.#resources.told(resources),
      kvOffered: (agent, offer) => this.#resident.offered(agent, offer),
      kvReceived: (agent, sections, frame) => this.#resident.received(agent, sections, frame),
      kvLost: (agent, seq) => this.#resident.lost(agent, seq),
      tickNeeded: () => this.#scheduleTick(),
    };
  }

  #claimed(agent: string, endpoints: readonly EndpointRecord[]): boolean {
    if (!this.#endpoints.membership.claim(agent, endpoints)) return false;
    this.#endpoints.sync();
    this.#resident.endpointsChanged();
    this.#picks.admission.queue?.drainSoon();
    this.#stored.setClaim(agent, endpoints);
    return true;
  }

  #reported(report: TicketReport, relay: RelayLife): void {
    const slot = this.#endpoints.slotOfAddress(report.endpoint);
    if (report.kind === "opened") this.#picks.opened(report, slot, relay);
    else if (report.kind === "prefilled") this.#picks.prefilled(report, slot);
    else this.#picks.closed(report, slot);
  }

  #settle(settlement: Settlement): void {
    this.#usage.add(settlement);
    this.#reports.requestEnded();
    if (settlement.mayBeReported) this.#settled.add(settlement.ticket);
  }

  /** Plans a tick unless one is planned or nothing waits for time to pass. */
  #scheduleTick(): void {
    this.#reports.noticed();
    if (this.#tickTimer !== undefined || !this.#needsTick()) return;
    this.#tickTimer = setTimeout(() => {
      this.#tickTimer = undefined;
      try {
        this.#tick();
      } finally {
        this.#scheduleTick();
      }
    }, TICK_MS);
  }

  /** While this holds, a timer keeps the object from hibernating, as open tickets must. */
  #needsTick(): boolean {
    return (
      this.#picks.hasTickets ||
      this.#usage.isDirty ||
      this.#prefixes.journal.isDirty ||
      this.#agents.needsTick ||
      this.#endpoints.membership.hasLeases
    );
  }

  #tick(): void {
    this.#picks.sweep();
    // In a turn of its own: in one transaction with confirmed writes it would hold replies back.
    if (this.#prefixes.journal.isDirty) setTimeout(() => this.#prefixes.journal.write(), 0);
    this.#debts.keep(this.#picks.admission.queue, systemClock());
    const gone = this.#endpoints.membership.expire();
    if (gone.length > 0) {
      this.#endpoints.sync();
      this.#resident.endpointsChanged();
    }
    for (const agent of gone) this.#stored.deleteClaim(agent);
    this.#agents.closeSilent();
    // Usage before acks, and in one transaction with the numbers of the reports it came from: what
    // is acknowledged is durable, and what is durable is never applied again.
    const agents = this.#agents.unsaved();
    if (this.#usage.isDirty || agents.length > 0) {
      const batch = { usage: this.#usage.take(), agents, tickets: this.#settled.take() };
      try {
        this.#stored.settle(batch, systemClock());
      } catch (error) {
        // Nothing of it is written: it waits for the next tick, and so do the acknowledgements.
        this.#usage.putBack(batch.usage);
        for (const ticket of batch.tickets) this.#settled.add(ticket);
        throw error;
      }
    }
    this.#agents.saved();
  }
}
