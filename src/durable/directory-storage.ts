// Every SQL statement of the DirectoryObject.

import { type Deployment, deploymentSchema } from "../config/deployment.ts";
import type { PoolAddress } from "../config/pool-address.ts";
import { withReadableScheduling, type WrittenPool } from "../config/scheduling.ts";
import type { DirectoryVersion } from "./directory/contract.ts";
import { migrate } from "./migrations.ts";

/** Old versions that stay readable. */
export const VERSIONS_KEPT_MAX = 50;

const SQL_SCHEMA = [
  `CREATE TABLE versions (
     version INTEGER PRIMARY KEY,
     applied_at_ms INTEGER NOT NULL,
     bytes INTEGER NOT NULL,
     json TEXT NOT NULL
   );
   -- Addresses of pools whose object has not been told of the newest version.
   CREATE TABLE pending_pools (pool TEXT PRIMARY KEY);`,
  // Pools that get no new requests, by an operator's word.
  "CREATE TABLE drained_pools (pool TEXT PRIMARY KEY)",
  // What pools' clusters say of objectives and rewrites, as PoolResources.
  "CREATE TABLE pool_resources (pool TEXT PRIMARY KEY, version INTEGER NOT NULL, json TEXT NOT NULL)",
  // Addresses of shards beyond the count of their pool, which end what they have.
  "CREATE TABLE leaving_shards (address TEXT PRIMARY KEY, since_ms INTEGER NOT NULL)",
];

export interface StoredDeployment {
  /** 0 before anything was stored. */
  readonly version: number;
  readonly deployment: Deployment;
  /** Pools whose stored scheduling cannot be read, or a part of it: see decode. Absent: none. */
  readonly repaired?: readonly string[];
}

interface StoredResources {
  readonly pool: string;
  readonly version: number;
  readonly json: string;
}

/** A shard beyond the count of its pool. */
export interface LeavingShard {
  readonly address: PoolAddress;
  readonly sinceMs: number;
}

interface StoredChange {
  /** Whose objects have to be told. */
  readonly told: readonly PoolAddress[];
  /** Shards that are beyond the count of their pools now, all of them. */
  readonly leaving: readonly PoolAddress[];
  /** All that are configured now: of others the drain is forgotten. */
  readonly pools: readonly string[];
}

/** Nothing configured: what a new deployment starts with, as version 0. */
const EMPTY = deploymentSchema.parse({ version: 1, pools: [], tenants: [] });

export class DirectoryStorage {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    migrate(storage, SQL_SCHEMA);
  }

  current(): StoredDeployment {
    const [row] = this.#storage.sql
      .exec<{ version: number; json: string }>(
        "SELECT version, json FROM versions ORDER BY version DESC LIMIT 1",
      )
      .toArray();
    if (row === undefined) return { version: 0, deployment: EMPTY };
    return { version: row.version, ...decode(row.json) };
  }

  /** A stored version, or undefined if it never was or is no longer kept. */
  get(version: number): Deployment | undefined {
    const [row] = this.#storage.sql
      .exec<{ json: string }>("SELECT json FROM versions WHERE version = ?", version)
      .toArray();
    return row === undefined ? undefined : decode(row.json).deployment;
  }

  /** Newest first. */
  versions(): DirectoryVersion[] {
    return this.#storage.sql
      .exec<{ version: number; appliedAtMs: number; bytes: number }>(
        "SELECT version, applied_at_ms AS appliedAtMs, bytes FROM versions ORDER BY version DESC",
      )
      .toArray();
  }

  /** Stores a version, drops the oldest ones, and marks whom it has to tell, in one transaction. */
  add(entry: DirectoryVersion, json: string, change: StoredChange): void {
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      sql.exec(
        "INSERT INTO versions (version, applied_at_ms, bytes, json) VALUES (?, ?, ?, ?)",
        entry.version,
        entry.appliedAtMs,
        entry.bytes,
        json,
      );
      sql.exec("DELETE FROM versions WHERE version <= ?", entry.version - VERSIONS_KEPT_MAX);
      this.mustTell(change.told);
      this.#setLeaving(change.leaving, entry.appliedAtMs);
      for (const pool of this.drained())
        if (!change.pools.includes(pool)) this.setDrained(pool, false);
    });
  }

  leaving(): LeavingShard[] {
    return this.#storage.sql
      .exec<{ address: string; sinceMs: number }>(
        "SELECT address, since_ms AS sinceMs FROM leaving_shards ORDER BY address",
      )
      .toArray() as unknown as LeavingShard[];
  }

  /** It is retired, or counts again. */
  forgetLeaving(address: PoolAddress): void {
    this.#storage.sql.exec("DELETE FROM leaving_shards WHERE address = ?", address);
  }

  /** Those that were leaving before go on since when they were. */
  #setLeaving(addresses: readonly PoolAddress[], sinceMs: number): void {
    for (const { address } of this.leaving())
      if (!addresses.includes(address)) this.forgetLeaving(address);
    for (const address of addresses)
      this.#storage.sql.exec(
        "INSERT OR IGNORE INTO leaving_shards (address, since_ms) VALUES (?, ?)",
        address,
        sinceMs,
      );
  }

  drained(): string[] {
    return this.#names("SELECT pool FROM drained_pools ORDER BY pool");
  }

  setDrained(pool: string, isDrained: boolean): void {
    if (isDrained)
      this.#storage.sql.exec("INSERT OR IGNORE INTO drained_pools (pool) VALUES (?)", pool);
    else this.#storage.sql.exec("DELETE FROM drained_pools WHERE pool = ?", pool);
  }

  resources(): StoredResources[] {
    return this.#storage.sql
      .exec<{ pool: string; version: number; json: string }>(
        "SELECT pool, version, json FROM pool_resources ORDER BY version, pool",
      )
      .toArray();
  }

  setResources({ pool, version, json }: StoredResources): void {
    this.#storage.sql.exec(
      "INSERT OR REPLACE INTO pool_resources (pool, version, json) VALUES (?, ?, ?)",
      pool,
      version,
      json,
    );
  }

  deleteResources(pool: string): void {
    this.#storage.sql.exec("DELETE FROM pool_resources WHERE pool = ?", pool);
  }

  pendingPools(): PoolAddress[] {
    return this.#names("SELECT pool FROM pending_pools ORDER BY pool") as PoolAddress[];
  }

  /** Marks pools as not told. */
  mustTell(pools: readonly PoolAddress[]): void {
    for (const pool of pools)
      this.#storage.sql.exec("INSERT OR IGNORE INTO pending_pools (pool) VALUES (?)", pool);
  }

  poolWasTold(pool: PoolAddress): void {
    this.#storage.sql.exec("DELETE FROM pending_pools WHERE pool = ?", pool);
  }

  #names(query: string): string[] {
    return this.#storage.sql
      .exec<{ pool: string }>(query)
      .toArray()
      .map((row) => row.pool);
  }
}

/**
 * Parsed, not trusted: a newer release may have added fields with defaults, and may read scheduling
 * of an earlier form no more. Then the default stands in for it: a directory that failed here could
 * not be given a new configuration either.
 */
function decode(json: string): Omit<StoredDeployment, "version"> {
  const stored: unknown = JSON.parse(json);
  const parsed = deploymentSchema.safeParse(stored);
  if (parsed.success) return { deployment: parsed.data };
  const { pools, ...rest } = stored as { readonly pools: readonly StoredPool[] };
  const readable = pools.map(withReadableScheduling);
  return {
    deployment: deploymentSchema.parse({ ...rest, pools: readable }),
    repaired: pools.filter((pool, i) => pool !== readable[i]).map(({ name }) => name),
  };
}

interface StoredPool extends WrittenPool {
  readonly name: string;
}
