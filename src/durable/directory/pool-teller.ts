// Tells pools' objects what they are to do, and goes on until each of them knows.
//
// Whom it still has to tell is stored, by address, before anybody is told: an object at an address that
// is no longer in the configuration is retired, also where only its pool's jurisdiction has changed.

import { type PoolsBindings, poolsFor } from "../../config/coordinators.ts";
import type { Deployment, PoolConfig } from "../../config/deployment.ts";
import { keepsJurisdictions, type PoolAddress, poolAddress } from "../../config/pool-address.ts";
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
    return pools.map((pool) => this.#addressOf(pool));
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
    if (left.length === 0) await storage.deleteAlarm();
    return left;
  }

  #addressOf(pool: PoolConfig): PoolAddress {
    // Most have none, and then nothing has to be found out.
    return pool.jurisdiction === undefined || this.keepsJurisdictions
      ? poolAddress(pool)
      : poolAddress({ name: pool.name });
  }

  async #tell(address: PoolAddress, { deployment, version }: StoredDeployment): Promise<void> {
    const pool = deployment.pools.find((other) => this.#addressOf(other) === address);
    const pools = poolsFor(this.#options.env, address);
    const told =
      pool === undefined
        ? pools.retire(address, version)
        : pools.configure(objectConfig(pool), version, pool.locationHint, address);
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("deadline")), PUSH_DEADLINE_MS);
    await Promise.race([told, deadline]).finally(() => clearTimeout(timer));
  }
}

function objectConfig(pool: PoolConfig): PoolObjectConfig {
  const { name, scrapeIntervalMs, scheduler, shadow, clusterResources } = pool;
  return {
    name,
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
