// The configuration as requests look things up in it. Built once per version and isolate.

import {
  CLUSTER_RESOURCES_DEFAULT,
  type Deployment,
  deploymentSchema,
  type PoolConfig,
} from "../config/deployment.ts";
import type { PoolResources } from "../durable/directory/contract.ts";
import type { Tenant } from "./tenant.ts";
import { poolNeeds, type PoolNeeds } from "./pool-needs.ts";
import { poolTag } from "./request-id.ts";

export interface Pool extends PoolNeeds {
  readonly config: PoolConfig;
  /** Names the pool in request ids. */
  readonly tag: string;
  /** Of the directory that it was read in. */
  readonly configVersion: number;
}

const EVERY = "*";
/** For what a directory of the version before does not tell. */
const UNTOLD = {
  routing: deploymentSchema.parse({ version: 1, pools: [], tenants: [] }).routing,
  tenant: { jurisdictions: [EVERY] as ["*"], variantFallback: false },
  pool: () => ({
    clusterResources: [...CLUSTER_RESOURCES_DEFAULT],
    upstreams: [],
    failoverTier: 0,
    extraMs: 0,
    rttMs: 50,
    shards: 1,
    decide: "auto" as const,
  }),
};

/** What is known of clusters' resources. */
interface ToldResources {
  /** Rises with every change. */
  readonly revision: number;
  of(pool: string): PoolResources | undefined;
}

const NOTHING_TOLD: ToldResources = { revision: 0, of: () => undefined };

/** Indexes that this isolate has made. */
let madeCount = 0;

export class DirectoryIndex {
  readonly version: number;
  /**
   * Rises with each that is made. A request that took long to come still has the index of when it began; versions
   * would not tell which is newer, for a directory that has lost its storage begins anew.
   */
  readonly serial = ++madeCount;
  readonly bodyBytesMax: number;
  readonly routing: Deployment["routing"];
  /** Of the resources that it was made with. */
  readonly toldRevision: number;
  readonly #deployment: Deployment;
  readonly #tenantsByKeyHash = new Map<string, Tenant>();
  /** By tenants' ids. */
  readonly #weights = new Map<string, number>();
  /** In the order of the configuration. */
  readonly #pools = new Map<string, Pool>();
  /** By the names clients use. */
  readonly #poolsByModel = new Map<string, Pool[]>();

  /** `told`: what pools' clusters add to the configuration. */
  constructor(version: number, deployment: Deployment, told: ToldResources = NOTHING_TOLD) {
    this.version = version;
    this.toldRevision = told.revision;
    this.#deployment = deployment;
    this.bodyBytesMax = deployment.limits.bodyBytesMax;
    this.routing = (deployment as Partial<Deployment>).routing ?? UNTOLD.routing;
    for (const { keys, ...written } of deployment.tenants) {
      const tenant = { ...UNTOLD.tenant, ...written };
      for (const key of keys) this.#tenantsByKeyHash.set(key, tenant);
      this.#weights.set(tenant.id, tenant.weight);
    }
    for (const written of deployment.pools) {
      const config = { ...UNTOLD.pool(), ...written };
      const needs = poolNeeds(config, told.of(config.name));
      const tag = poolTag(config.name);
      const pool = { config, tag, configVersion: version, ...needs };
      this.#pools.set(config.name, pool);
      for (const model of new Set([...config.models, ...pool.rewrites.models])) {
        const serving = this.#poolsByModel.get(model);
        if (serving === undefined) this.#poolsByModel.set(model, [pool]);
        else serving.push(pool);
      }
    }
  }

  /** The same configuration where clusters say something else. */
  withResources(told: ToldResources): DirectoryIndex {
    return new DirectoryIndex(this.version, this.#deployment, told);
  }

  /** `keyHash` in the form of the configuration, `sha256:<hex>`. */
  tenantOf(keyHash: string): Tenant | undefined {
    return this.#tenantsByKeyHash.get(keyHash);
  }

  /** The share of a tenant's flow; undefined for what is no tenant's id. */
  weightOf(tenantId: string): number | undefined {
    return this.#weights.get(tenantId);
  }

  /** In the order of the configuration. */
  get poolNames(): string[] {
    return [...this.#pools.keys()];
  }

  /** In the order of the configuration. */
  get pools(): Pool[] {
    return [...this.#pools.values()];
  }

  pool(name: string): Pool | undefined {
    return this.#pools.get(name);
  }

  /** Usually one; tags can collide. */
  poolsTagged(tag: string): Pool[] {
    return [...this.#pools.values()].filter((pool) => pool.tag === tag);
  }

  /**
   * Pools the tenant may use for the model, in the order of the configuration. Empty alike for a
   * model that does not exist and for one that is not the tenant's to use. Without a model: pools that
   * rewrite such a request, to models that are all the tenant's to use.
   */
  poolsServing(model: string | null, tenant: Tenant): Pool[] {
    if (model !== null && !allows(tenant.models, model)) return [];
    const serving =
      model === null
        ? [...this.#pools.values()].filter((pool) => servesUnnamed(pool, tenant))
        : (this.#poolsByModel.get(model) ?? []);
    return serving.filter(({ config }) => isAllowedAt(tenant, config));
  }

  /** Models the tenant may use, in the order of the configuration. */
  modelsOf(tenant: Tenant): string[] {
    return [...this.#poolsByModel.keys()].filter(
      (model) => this.poolsServing(model, tenant).length > 0,
    );
  }
}

/** A pool whose object may be anywhere is only for those whose requests may be known anywhere. */
function isAllowedAt({ regions, jurisdictions }: Tenant, pool: PoolConfig): boolean {
  if (!allows(regions, pool.region)) return false;
  const { jurisdiction } = pool;
  if (jurisdiction !== undefined) return allows(jurisdictions, jurisdiction);
  return jurisdictions.includes(EVERY);
}

function servesUnnamed({ rewrites }: Pool, tenant: Tenant): boolean {
  const targets = rewrites.targetsOfUnnamed;
  return targets.length > 0 && targets.every((target) => allows(tenant.models, target));
}

function allows(granted: readonly string[], name: string): boolean {
  return granted.includes(EVERY) || granted.includes(name);
}
