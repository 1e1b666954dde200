// Every SQL statement of a PoolObject. Nothing here runs on the way of a pick: a write would hold
// its reply back until it is durable.

import { type EndpointRecord, membershipSchema } from "../agents/protocol/messages.ts";
import type { ClusterResourceKind } from "../config/deployment.ts";
import { loadSchedulerConfig } from "../scheduler/config/load.ts";
import { schedulerConfigSchema } from "../scheduler/config/schema.ts";
import type { PoolObjectConfig } from "./contract.ts";
import { CLAIMS_MAX } from "./membership.ts";
import { RESOURCES_SQL } from "./resources/resources-storage.ts";
import { migrate } from "./migrations.ts";
import { readShard } from "./pool-shard.ts";
import { readUpstreams } from "./upstreams/pool-upstream.ts";

/** Tenant and model pairs with their own counters; later pairs count together. */
export const USAGE_ROWS_MAX = 10_000;
/** Agents whose acknowledged sequence is kept; the longest silent one is forgotten first. */
export const AGENT_ROWS_MAX = 64;
/** Tickets remembered as settled; the oldest are forgotten first. */
export const SETTLED_ROWS_MAX = 20_000;
/** Tenant and model of what is counted together. */
export const OTHER = "other";

const SQL_SCHEMA = [
  `-- One row. json is NULL while the pool is not (or no longer) configured.
   CREATE TABLE config (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, json TEXT);
   -- What each collector last claimed: endpoints as JSON, in the collector's order.
   CREATE TABLE claims (agent TEXT PRIMARY KEY, claim INTEGER NOT NULL, json TEXT NOT NULL);
   CREATE TABLE agents (
     agent TEXT PRIMARY KEY,
     epoch TEXT NOT NULL,
     acked_seq INTEGER NOT NULL,
     updated_at_ms INTEGER NOT NULL
   );
   -- Settled usage since the object was created.
   CREATE TABLE usage (
     tenant TEXT NOT NULL,
     model TEXT NOT NULL,
     requests INTEGER NOT NULL,
     estimated_requests INTEGER NOT NULL,
     prompt_tokens INTEGER NOT NULL,
     cached_tokens INTEGER NOT NULL,
     completion_tokens INTEGER NOT NULL,
     PRIMARY KEY (tenant, model)
   ) WITHOUT ROWID;`,
  `-- Reports of the agent's epoch that are durable, by number; acked_seq is version 1's.
   ALTER TABLE agents ADD COLUMN acked_report INTEGER NOT NULL DEFAULT 0;
   -- Tickets that were settled without their relay's report, or in a later life of the object than
   -- the one that opened them: a report that comes later must not count again.
   CREATE TABLE settled (id INTEGER PRIMARY KEY, ticket TEXT NOT NULL UNIQUE);`,
  RESOURCES_SQL,
];

export interface StoredConfig {
  /** 0 before the first. */
  readonly version: number;
  /** null: not configured, or retired. */
  readonly config: PoolObjectConfig | null;
  /** The stored scheduling cannot be read or made: see decodeConfig. */
  readonly isFallback?: boolean;
}

/** Counters of one tenant and model. Of tickets: a request the Worker tried again has one a try. */
export interface UsageTotals {
  readonly tenant: string;
  readonly model: string;
  requests: number;
  estimatedRequests: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

/** What a relay reported up to here is durable. */
export interface AckedAgent {
  readonly agent: string;
  readonly epoch: string;
  /** Its highest frame, as version 1 counts. */
  readonly seq: number;
  /** Its highest report; 0 for a relay of version 1. */
  readonly report: number;
}

/** What a tick writes, as one transaction: usage, and which reports it came from. */
export interface SettledBatch {
  readonly usage: readonly UsageTotals[];
  readonly agents: readonly AckedAgent[];
  /** Tickets a report may still come for, see SETTLED_ROWS_MAX. */
  readonly tickets: readonly string[];
}

export class PoolStorage {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  /** Whether any ticket was ever settled so; undefined before it was asked. Each that is not known is asked about. */
  #hasSettled: boolean | undefined;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    migrate(storage, SQL_SCHEMA);
  }

  config(): StoredConfig {
    const [row] = this.#sql
      .exec<{ version: number; json: string | null }>("SELECT version, json FROM config")
      .toArray();
    if (row === undefined) return { version: 0, config: null };
    return row.json === null
      ? { version: row.version, config: null }
      : decodeConfig(row.version, row.json);
  }

  setConfig(version: number, config: PoolObjectConfig | null): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO config (id, version, json) VALUES (1, ?, ?)",
      version,
      config === null ? null : JSON.stringify(config),
    );
  }

  /** The claims that were in force, oldest first. */
  claims(): { agent: string; endpoints: readonly EndpointRecord[] }[] {
    return this.#sql
      .exec<{ agent: string; json: string }>("SELECT agent, json FROM claims ORDER BY claim")
      .toArray()
      .flatMap(({ agent, json }) => {
        const { data } = membershipSchema.safeParse({ endpoints: JSON.parse(json) });
        return data === undefined ? [] : [{ agent, endpoints: data.endpoints }];
      });
  }

  /** Writes only what differs from the claim before: a collector repeats itself at every resync. */
  setClaim(agent: string, endpoints: readonly EndpointRecord[]): void {
    const json = JSON.stringify(endpoints);
    const [before] = this.#sql
      .exec<{ json: string }>("SELECT json FROM claims WHERE agent = ?", agent)
      .toArray();
    if (before?.json === json) return;
    this.#sql.exec(
      `INSERT OR REPLACE INTO claims (agent, claim, json)
       VALUES (?, (SELECT COALESCE(MAX(claim), 0) + 1 FROM claims), ?)`,
      agent,
      json,
    );
    this.#sql.exec(
      `DELETE FROM claims WHERE agent NOT IN
         (SELECT agent FROM claims ORDER BY claim DESC LIMIT ?)`,
      CLAIMS_MAX,
    );
  }

  deleteClaim(agent: string): void {
    this.#sql.exec("DELETE FROM claims WHERE agent = ?", agent);
  }

  /** What is durable of the agent's epoch; zeros if nothing is. */
  acked({ agent, epoch }: { agent: string; epoch: string }): { seq: number; report: number } {
    const [row] = this.#sql
      .exec<{ seq: number; report: number }>(
        "SELECT acked_seq AS seq, acked_report AS report FROM agents WHERE agent = ? AND epoch = ?",
        agent,
        epoch,
      )
      .toArray();
    return row ?? { seq: 0, report: 0 };
  }

  isSettled(ticket: string): boolean {
    this.#hasSettled ??= this.#sql.exec("SELECT 1 FROM settled LIMIT 1").toArray().length > 0;
    if (!this.#hasSettled) return false;
    return this.#sql.exec("SELECT 1 FROM settled WHERE ticket = ?", ticket).toArray().length > 0;
  }

  /** Adds usage and remembers what was acknowledged for it, in one transaction. */
  settle({ usage, agents, tickets }: SettledBatch, nowMs: number): void {
    this.#storage.transactionSync(() => {
      for (const totals of usage) this.#addUsage(totals);
      for (const { agent, epoch, seq, report } of agents) {
        this.#sql.exec(
          `INSERT OR REPLACE INTO agents (agent, epoch, acked_seq, acked_report, updated_at_ms)
           VALUES (?, ?, ?, ?, ?)`,
          agent,
          epoch,
          seq,
          report,
          nowMs,
        );
      }
      this.#sql.exec(
        `DELETE FROM agents WHERE agent NOT IN
           (SELECT agent FROM agents ORDER BY updated_at_ms DESC LIMIT ?)`,
        AGENT_ROWS_MAX,
      );
      this.#rememberSettled(tickets);
    });
  }

  #rememberSettled(tickets: readonly string[]): void {
    if (tickets.length === 0) return;
    this.#hasSettled = true;
    for (const ticket of tickets) {
      this.#sql.exec("INSERT OR IGNORE INTO settled (ticket) VALUES (?)", ticket);
    }
    this.#sql.exec(
      "DELETE FROM settled WHERE id <= (SELECT MAX(id) FROM settled) - ?",
      SETTLED_ROWS_MAX,
    );
  }

  usage(): UsageTotals[] {
    return this.#sql
      .exec<{ [Column in keyof UsageTotals]: UsageTotals[Column] }>(
        `SELECT tenant, model, requests, estimated_requests AS estimatedRequests,
           prompt_tokens AS promptTokens, cached_tokens AS cachedTokens,
           completion_tokens AS completionTokens
         FROM usage ORDER BY tenant, model`,
      )
      .toArray();
  }

  #addUsage(totals: UsageTotals): void {
    const { tenant, model } = totals;
    const isKnown =
      this.#sql.exec("SELECT 1 FROM usage WHERE tenant = ? AND model = ?", tenant, model).toArray()
        .length > 0;
    const hasRoom = isKnown || this.#usageRows() < USAGE_ROWS_MAX;
    this.#sql.exec(
      `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (tenant, model) DO UPDATE SET
         requests = requests + excluded.requests,
         estimated_requests = estimated_requests + excluded.estimated_requests,
         prompt_tokens = prompt_tokens + excluded.prompt_tokens,
         cached_tokens = cached_tokens + excluded.cached_tokens,
         completion_tokens = completion_tokens + excluded.completion_tokens`,
      hasRoom ? tenant : OTHER,
      hasRoom ? model : OTHER,
      totals.requests,
      totals.estimatedRequests,
      totals.promptTokens,
      totals.cachedTokens,
      totals.completionTokens,
    );
  }

  /** Counted only when a new pair appears. */
  #usageRows(): number {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM usage").one().n;
  }
}

/**
 * An earlier release may have stored less than this one needs, or scheduling of a form that this one
 * does not read. Then the default stands in, as version 0: so the directory's next word is heard.
 */
function decodeConfig(version: number, json: string): StoredConfig {
  const stored = JSON.parse(json) as {
    name: string;
    scrapeIntervalMs: number;
    scheduler: unknown;
    shadowScheduler?: unknown;
    objectivePriorities?: readonly number[];
    clusterResources?: readonly ClusterResourceKind[];
    upstreams?: unknown;
    shard?: unknown;
  };
  const { name, scrapeIntervalMs, objectivePriorities, clusterResources } = stored;
  const read = (written: unknown) =>
    loadSchedulerConfig(written, { allowExperimentalPlugins: true }).config;
  const known = read(stored.scheduler);
  // One that cannot be read is left out: nothing depends on it.
  const shadow = stored.shadowScheduler === undefined ? undefined : read(stored.shadowScheduler);
  if (known !== undefined) {
    const config = {
      name,
      scrapeIntervalMs,
      scheduler: known,
      ...(objectivePriorities === undefined ? {} : { objectivePriorities }),
      ...(clusterResources === undefined ? {} : { clusterResources }),
      ...readUpstreams(stored.upstreams),
      ...readShard(stored.shard),
    };
    return {
      version,
      config: shadow === undefined ? config : { ...config, shadowScheduler: shadow },
    };
  }
  return fallbackConfig(stored);
}

interface FallbackFacts extends Pick<PoolObjectConfig, "name" | "scrapeIntervalMs"> {
  readonly upstreams?: unknown;
  readonly shard?: unknown;
}

/** The default in the place of a configuration that does not do; as version 0, see decodeConfig. */
export function fallbackConfig({
  name,
  scrapeIntervalMs,
  upstreams,
  shard,
}: FallbackFacts): StoredConfig {
  const scheduler = schedulerConfigSchema.parse({});
  const written = { ...readUpstreams(upstreams), ...readShard(shard) };
  const config = { name, scrapeIntervalMs, scheduler, ...written };
  return { version: 0, config, isFallback: true };
}
