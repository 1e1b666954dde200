// Tells pools' objects what they are to do, and goes on until each of them knows.
//
// Whom it still has to tell is stored, by address, before anybody is told: an object at an address that
// is no longer in the configuration is retired, also where only its pool's jurisdiction has changed.
//
// A shard beyond the count of its pool is told the count first: it sends its Workers on, ends what it has,
// and is retired when it has nothing any more and no isolate can think that it still counts.

import { type PoolsBindings, poolsFor } from "../../config/coordinators.ts";
import type { Deployment, PoolConfig } from "../../config/deployment.ts";
import {
  keepsJurisdictions,
  type PoolAddress,
  poolAddress,
  poolNameOf,
  shardIndexOf,
} from "../../config/pool-address.ts";
import { effectiveScheduler } from "../../config/scheduling.ts";
import type { PoolObjectConfig } from "../contract.ts";
import type { DirectoryStorage, StoredDeployment } from "../directory-storage.ts";
import type { Pools } from "../pools.ts";
import { systemClock } from "../system.ts";
import { upstreamsOf } from "../upstreams/pool-upstream.ts";

/** How long a pool's object may take to accept its configuration. */
const PUSH_DEADLINE_MS = 5_000;
/** Pause before telling those again that could not be told. */
export const PUSH_RETRY_MS = 5_000;

/** Isolates go by a configuration for so long at most that they cannot read anew. */
export const SHARD_LEAVES_MS = 10 * 60_000;

/** Pools' objects can be in other processes than the directory. */
export interface PoolTellerEnv extends PoolsBindings<Service<typeof Pools>> {
  /** Those that are in this process. */
  readonly POOL: DurableObjectNamespace;
}

interface PoolTellerOptions {
  readonly env: PoolTellerEnv;
  readonly storage: DurableObjectStorage;
  readonly stored: DirectoryStorage;
  /** What is in force. */
  readonly current: () => StoredDeployment;
}

export class PoolTeller {
  readonly #options: PoolTellerOptions;

  constructor(options: PoolTellerOptions) {
    this.#options = options;
  }

  /** Whether pools' objects stay where `jurisdiction` says. */
  get keepsJurisdictions(): boolean {
    return keepsJurisdictions(this.#options.env.POOL);
  }

  /** Addresses of all pools' objects. Where jurisdictions are not kept they are no part of them. */
  addresses({ pools }: Pick<Deployment, "pools">): PoolAddress[] {
    return pools.flatMap((pool) =>
      Array.from({ length: pool.shards }, (_, shard) => this.#addressOf(pool, shard)),
    );
  }

  /** Of these addresses, shards beyond the counts of their pools. */
  leaving(of: Pick<Deployment, "pools">, addresses: Iterable<PoolAddress>): PoolAddress[] {
    return [...addresses].filter((address) => {
      const pool = this.#poolAt(address, of);
      return pool !== undefined && shardIndexOf(address) >= pool.shards;
    });
  }

  /** Tells every pool that was not told yet; returns those that could not be. */
  async tellAll(): Promise<PoolAddress[]> {
    const { storage, stored, current } = this.#options;
    // Set first: if the object is reset in between, the alarm goes on with what is left.
    await storage.setAlarm(systemClock() + PUSH_RETRY_MS);
    const told = current();
    const pools = stored.pendingPools();
    const results = await Promise.allSettled(pools.map((address) => this.#tell(address, told)));
    const left = pools.filter((_, i) => results[i]!.status === "rejected");
    // A put in between has marked its pools itself; it also tells them.
    if (told.version !== current().version) return left;
    for (const pool of pools) if (!left.includes(pool)) stored.poolWasTold(pool);
    if (left.length === 0) await this.#awaitLeaving();
    return left;
  }

  /** Of what there is to tell, nothing but shards' leaving is left. */
  async #awaitLeaving(): Promise<void> {
    const { storage, stored } = this.#options;
    const leaving = stored.leaving();
    if (leaving.length === 0) return storage.deleteAlarm();
    const dueAtMs = Math.min(...leaving.map(({ sinceMs }) => sinceMs + SHARD_LEAVES_MS));
    await storage.setAlarm(Math.max(dueAtMs, systemClock() + PUSH_RETRY_MS));
  }

  /** Retires shards that have nothing left to do. One that cannot be asked has, as far as anybody knows. */
  async retireEmpty(): Promise<void> {
    const { stored, current } = this.#options;
    const told = current();
    const leaving = stored.leaving();
    const dueBeforeMs = systemClock() - SHARD_LEAVES_MS;
    const pending = stored.pendingPools();
    const due = leaving.filter(
      ({ address, sinceMs }) => sinceMs <= dueBeforeMs && !pending.includes(address),
    );
    const retired = await Promise.allSettled(
      due.map(({ address }) => this.#retireIfEmpty(address, told.version)),
    );
    // In a later configuration it may count again.
    if (told.version !== current().version) return;
    due.forEach(({ address }, i) => {
      const result = retired[i]!;
      if (result.status === "fulfilled" && result.value) stored.forgetLeaving(address);
    });
    if (due.length > 0 && stored.pendingPools().length === 0) await this.#awaitLeaving();
  }

  async #retireIfEmpty(address: PoolAddress, version: number): Promise<boolean> {
    const pools = poolsFor(this.#options.env, address);
    const asked = Promise.all([pools.state(address), pools.queueState(address)]);
    const [{ tickets }, queue] = await withDeadline(asked);
    const left = tickets.open + tickets.unsettled + (queue?.waiting.requests ?? 0);
    if (left > 0) return false;
    await withDeadline(pools.retire(address, version));
    return true;
  }

  #addressOf(pool: PoolConfig, shard: number): PoolAddress {
    // Most have none, and then nothing has to be found out.
    return pool.jurisdiction === undefined || this.keepsJurisdictions
      ? poolAddress(pool, shard)
      : poolAddress({ name: pool.name }, shard);
  }

  /** The configured pool that the object at the address is of, whether or not its shard counts. */
  #poolAt(address: PoolAddress, { pools }: Pick<Deployment, "pools">): PoolConfig | undefined {
    const pool = pools.find(({ name }) => name === poolNameOf(address));
    if (pool === undefined) return undefined;
    return this.#addressOf(pool, shardIndexOf(address)) === address ? pool : undefined;
  }

  async #tell(address: PoolAddress, { deployment, version }: StoredDeployment): Promise<void> {
    const pool = this.#poolAt(address, deployment);
    const pools = poolsFor(this.#options.env, address);
    if (pool === undefined) return withDeadline(pools.retire(address, version));
    const isKept = pool.jurisdiction !== undefined && this.keepsJurisdictions;
    const jurisdiction = isKept ? pool.jurisdiction : undefined;
    const config = objectConfig(pool, shardIndexOf(address), jurisdiction);
    await withDeadline(pools.configure(config, version, pool.locationHint, address));
  }
}

async function withDeadline<Value>(called: Promise<Value>): Promise<Value> {
  const { promise: deadline, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("deadline")), PUSH_DEADLINE_MS);
  return Promise.race([called, deadline]).finally(() => clearTimeout(timer));
}

function objectConfig(
  pool: PoolConfig,
  index: number,
  jurisdiction: PoolConfig["jurisdiction"],
): PoolObjectConfig {
  const { name, scrapeIntervalMs, scheduler, shadow, clusterResources, shards: count } = pool;
  const kept = jurisdiction === undefined ? {} : { jurisdiction };
  return {
    name,
    // An object that was never one of several is told nothing of them.
    ...(index === 0 && count === 1 ? {} : { shard: { index, count, ...kept } }),
    scrapeIntervalMs,
    clusterResources,
    scheduler: effectiveScheduler(scheduler),
    ...objectivePriorities(pool),
    ...upstreamsOf(pool),
    ...(shadow === undefined ? {} : { shadowScheduler: effectiveScheduler(shadow) }),
  };
}

function objectivePriorities({
  objectives = [],
}: PoolConfig): Pick<PoolObjectConfig, "objectivePriorities"> {
  if (objectives.length === 0) return {};
  return { objectivePriorities: [...new Set(objectives.map(({ priority }) => priority))] };
}
