// PoolObject: one InferencePool's endpoints, tickets and decisions. Most pools have one object, large ones several
// (shards/).
//
// In memory: endpoints and their loads, what is believed of their caches, open tickets, decision
// records. In SQLite: configuration, last known membership, settled usage. A pick writes nothing.
// An object that lost its memory picks at once among the endpoints it remembers, as never sampled,
// and asks its agents for everything else.
//
// Objects are created by the directory (`configure`); one that was not configured refuses to serve.

import { DurableObject } from "cloudflare:workers";
import type { CompiledSpecification } from "../scheduler/data-layer/compile.ts";
import { explainAll } from "../scheduler/decisions/explain.ts";
import { QueueRefusals } from "../scheduler/decisions/queue-refusals.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import { AgentConnections, POOL_UPGRADE_HEADER } from "./agent-connection.ts";
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
import type { EdgeSync, EdgeSynced, PickRequest, PoolObjectConfig } from "./contract.ts";
import { EdgeDesk } from "./edge/edge-desk.ts";
import { Endpoints } from "./endpoints.ts";
import { type PickAnswer, PickAnswers } from "./pick-answers.ts";
import { showResidency } from "./kv/residency-metrics.ts";
import { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import { Picks } from "./picks.ts";
import { createPoolMetrics } from "./pool-metrics.ts";
import { JournalStorage } from "./prefix/journal-storage.ts";
import { PrefixMemory } from "./prefix/memory.ts";
import { QueueMetrics } from "./queue-metrics.ts";
import { reportedAs } from "./pool-shard.ts";
import { PoolStorage, type StoredConfig } from "./pool-storage.ts";
import { KeptDebts } from "./queue/kept-debts.ts";
import { ClusterResources } from "./resources/pool-resources.ts";
import { PoolReports, type ReportsEnv } from "./summary/pool-reports.ts";
import type { ShardAnswer, ShardTold } from "./shards/contract.ts";
import { PoolShards, type ShardsEnv } from "./shards/pool-shards.ts";
import { SettledTickets } from "./tickets/settled.ts";
import { randomHex, randomSeed, systemClock } from "./system.ts";
import type { Settlement } from "./tickets/ticket.ts";
import { ToldByAgents } from "./told-by-agents.ts";
import { Upkeep } from "./upkeep.ts";
import { fetcherOf } from "../config/bindings.ts";
import { UpstreamLoads } from "./upstreams/upstream-loads.ts";
import { Usage } from "./usage.ts";

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
  readonly #shards: PoolShards;
  readonly #edge: EdgeDesk;
  readonly #answers: PickAnswers;
  readonly #debts: KeptDebts;
  readonly #agents: AgentConnections;
  readonly #reports: PoolReports;
  readonly #resources: ClusterResources;
  #built: BuiltConfig;
  #config: StoredConfig;
  #compiled: CompiledSpecification;
  readonly #upstreamLoads: UpstreamLoads;
  readonly #toldByAgents: ToldByAgents;
  readonly #upkeep: Upkeep;

  constructor(ctx: DurableObjectState, env: ReportsEnv & ShardsEnv) {
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
      onRemoved: (slot) => this.#slotVoid(slot, "removed"),
      onRestarted: (slot) => this.#slotVoid(slot, "restarted"),
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
    this.#shards = this.#createShards(env);
    this.#picks = this.#createPicks();
    this.#edge = this.#createEdge();
    this.#answers = new PickAnswers(this.#picks, this.#edge);
    this.#resources = this.#createResources(env);
    this.#configurePicks();
    this.#debts = new KeptDebts(ctx.storage);
    this.#picks.admission.queue?.gate.restoreDebts(this.#debts.read(systemClock()));
    this.#reports = this.#createReports(env);
    this.#toldByAgents = this.#createToldByAgents();
    this.#shards.configure(this.#config.config);
    // Last: it greets the sockets that survived, tells them of the pool's shards, and everything they may
    // cause must stand.
    this.#agents = new AgentConnections({
      ctx,
      objectEpoch: this.#objectEpoch,
      clock: systemClock,
      registry: this.#registry,
      events: this.#toldByAgents.events(),
    });
    this.#upkeep = this.#createUpkeep();
    this.#upstreamLoads = this.#createUpstreamLoads(env);
    this.#upstreamLoads.configure(this.#config.config?.upstreams ?? []);
    this.#upkeep.schedule();
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

  /**
   * The pool is no longer in the configuration: its agents are sent away and picks refused. Also in the
   * version that it has: a shard that does not count any more is retired when it is empty.
   */
  retire(version: number): void {
    const { version: known, config } = this.#config;
    if (version < known || (version === known && config === null)) return;
    this.#setConfig({ version, config: null });
    this.#resources.forget();
    this.#agents.closeAll();
  }

  /**
   * Endpoints for a request, and the handle that guards the grant. Again with the same attempt: the
   * same grant while it is open, with a new handle in place of the old one. Where the pool is full, a
   * wait. Who cannot wait in the queue does so for the lead's word, in an object that has just woken.
   */
  pick(request: PickRequest): PickAnswer | Promise<PickAnswer> {
    const awake = request.flow === undefined ? this.#shards.awake() : undefined;
    return awake === undefined ? this.#answer(request) : awake.then(() => this.#answer(request));
  }

  #answer(request: PickRequest): PickAnswer {
    const answer = this.#answers.pick(request);
    this.#upkeep.schedule();
    return answer;
  }

  /** What an isolate has decided alone, and what it asks for; see EdgePort. */
  sync(sync: EdgeSync): EdgeSynced {
    const synced = this.#edge.sync(sync);
    this.#upkeep.schedule();
    return synced;
  }

  /** See PoolPort. */
  leave(requestId: string, attempt: number): void {
    this.#picks.admission.queue?.leave(requestId, attempt);
  }

  /** Another of the pool's objects says what it has; see LeadPort. */
  tellLead(told: ShardTold): ShardAnswer | undefined {
    return this.#shards.told(told);
  }

  /** Why the request went where it went, for each of its attempts that is still on record. */
  explain(requestId: string): PoolExplanation {
    const { decider } = this.#picks;
    const records = decider.records(requestId);
    const local = decider.local.find(requestId);
    const decided = (attempt: number) => decider.where.find(requestId, attempt);
    const refused = this.#refusals.find(requestId);
    const pools = decider.poolChoice(requestId);
    const pool = this.#config.config?.name ?? "";
    return {
      isConfigured: this.#config.config !== null,
      objectEpoch: this.#objectEpoch,
      explanation: explainAll({ requestId, pool, refused, pools, local, decided }, records) ?? null,
    };
  }

  /** Recorded decisions, newest first, as many as a page has. */
  decisions(query: DecisionQuery): DecisionPage {
    return {
      pool: this.#config.config?.name ?? "",
      isConfigured: this.#config.config !== null,
      objectEpoch: this.#objectEpoch,
      ...this.#picks.decider.page(query),
    };
  }

  /** Prometheus text format. */
  metrics(): string {
    return this.#registry.render();
  }

  state(): PoolState {
    const { version, config } = this.#config;
    const { shadow } = this.#picks.decider;
    return {
      pool: config?.name ?? "",
      isConfigured: config !== null,
      configVersion: version,
      objectEpoch: this.#objectEpoch,
      staleAfterMs: this.#picks.decider.staleAfterMs,
      endpoints: this.#resident.describe(
        this.#endpoints.describe(this.#picks.decider.staleAfterMs),
      ),
      agents: this.#agents.agents(),
      tickets: this.#picks.tickets,
      ...(shadow === undefined ? {} : { shadow }),
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

  #createPicks(): Picks {
    return new Picks({
      epoch: this.#objectEpoch,
      clock: systemClock,
      seed: randomSeed,
      endpoints: this.#endpoints,
      prefixes: this.#prefixes,
      resident: this.#resident,
      registry: this.#registry,
      shards: this.#shards,
      onSettled: (settlement) => this.#settle(settlement),
      isSettled: (ticket) => this.#settled.has(ticket),
      evict: (victim, relay) => void this.#agents.evict(victim, relay),
      tickNeeded: () => this.#upkeep.schedule(),
      queueEnded: (end) => this.#queueMetrics.queueEnded(end),
      queueAskedAgain: () => this.#queueMetrics.queueAskedAgain(),
      queueRefused: (refusal) => this.#refusals.add(refusal),
    });
  }

  #createShards(env: ReportsEnv & ShardsEnv): PoolShards {
    return new PoolShards({
      env,
      storage: this.ctx.storage,
      clock: systemClock,
      epoch: this.#objectEpoch,
      registry: this.#registry,
      endpoints: this.#endpoints,
      queue: () => this.#picks.admission.queue,
      tickets: () => this.#picks.tickets,
      // Before there are any they need not be told: they will be greeted with it.
      mapChanged: () => (this.#agents as AgentConnections | undefined)?.configure(),
    });
  }

  #createResident(): ResidentKnowledge {
    return new ResidentKnowledge({
      table: this.#endpoints.table,
      clock: systemClock,
      firstStream: randomSeed(),
      approximate: (keys, matchedBlocks) => this.#prefixes.tree.match(keys, matchedBlocks),
      tell: (agent, message) => this.#agents.tellCollector(agent, message),
      defer: (callback) => void setTimeout(callback, 0),
      silentAfterMs: () => this.#picks.decider.staleAfterMs,
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
        return config === null ? undefined : reportedAs(config, version);
      },
      staleAfterMs: () => this.#picks.decider.staleAfterMs,
      outlook: () => this.#picks.admission.outlook(),
      agentCount: () => this.#agents.count,
      isBusy: () => this.#upkeep.isNeeded,
    });
  }

  #slotVoid(slot: number, why: "removed" | "restarted"): void {
    if (why === "removed") this.#picks.endpointRemoved(slot);
    else this.#picks.endpointRestarted(slot);
    this.#edge.slotVoid();
  }

  #createEdge(): EdgeDesk {
    return new EdgeDesk({
      epoch: this.#objectEpoch,
      clock: systemClock,
      registry: this.#registry,
      endpoints: this.#endpoints,
      prefixes: this.#prefixes,
      resident: this.#resident,
      picks: this.#picks,
      shards: this.#shards,
      pool: () => this.#config.config?.name,
      summary: () => {
        const summary = this.#reports.summary();
        // That of one of several objects is not the pool's.
        return summary?.shard === undefined ? summary : undefined;
      },
    });
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
    this.#shards.configure(next.config);
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
      scraped: (address, scrape) => this.#toldByAgents.scraped(address, scrape),
    });
  }

  #createToldByAgents(): ToldByAgents {
    return new ToldByAgents({
      stored: this.#stored,
      endpoints: this.#endpoints,
      resident: this.#resident,
      picks: this.#picks,
      reports: this.#reports,
      resources: this.#resources,
      shards: this.#shards,
      config: () => this.#config.config ?? undefined,
      specification: () => this.#compiled.specification,
      tickNeeded: () => this.#upkeep.schedule(),
    });
  }

  #createUpkeep(): Upkeep {
    return new Upkeep({
      stored: this.#stored,
      usage: this.#usage,
      settled: this.#settled,
      endpoints: this.#endpoints,
      prefixes: this.#prefixes,
      resident: this.#resident,
      picks: this.#picks,
      debts: this.#debts,
      reports: this.#reports,
      agents: this.#agents,
      edge: this.#edge,
    });
  }

  #settle(settlement: Settlement): void {
    this.#usage.add(settlement);
    this.#reports.requestEnded();
    if (settlement.mayBeReported) this.#settled.add(settlement.ticket);
  }
}
