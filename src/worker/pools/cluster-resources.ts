// What clusters add to the configuration of their pools: objectives that requests may name, and rewrites.
//
// Only what the pool's configuration allows, and never in the place of what it says itself: it wins over
// resources of the same name, and its rewrites are looked at before those of the cluster, however old.

import {
  CLUSTER_RESOURCES_DEFAULT,
  type ClusterResourceKind,
  DEPLOYMENT_LIMITS,
  type PoolConfig,
} from "../../config/deployment.ts";
import type { ClusterResourcesState } from "../../durable/state.ts";
import type { PoolResources, PoolsRead } from "../../durable/directory/contract.ts";

const KINDS: readonly ClusterResourceKind[] = ["objectives", "rewrites"];

/** Closed set; also a metric label. */
export type IgnoredWhy = "mistaken" | "not-allowed" | "overridden";

interface Ignored {
  readonly kind: ClusterResourceKind;
  readonly name: string;
  readonly why: IgnoredWhy;
}

/** Of a pool's configuration, what decides. */
type Allowing = Pick<PoolConfig, "objectives" | "modelRewrites"> &
  // Absent from a directory of the version before.
  Partial<Pick<PoolConfig, "clusterResources">>;

type Told = Readonly<Record<ClusterResourceKind, readonly { readonly name: string }[]>>;

/** What this isolate has read. It comes with the configuration. */
export class KnownResources {
  readonly #pools = new Map<string, PoolResources>();
  #names: ReadonlySet<string> = new Set();
  #epoch = "";
  #directoryRevision = 0;
  #revision = 0;

  /** For the next read. */
  get known(): number {
    return this.#directoryRevision;
  }

  /** Rises with every change. */
  get revision(): number {
    return this.#revision;
  }

  of(pool: string): PoolResources | undefined {
    return this.#pools.get(pool);
  }

  /** Takes over the names of a configuration: of other pools all is forgotten, and nothing is taken. */
  configure(names: readonly string[]): void {
    this.#names = new Set(names.slice(0, DEPLOYMENT_LIMITS.poolsMax));
    for (const pool of this.#pools.keys()) if (!this.#names.has(pool)) this.#pools.delete(pool);
  }

  update({ epoch, resources }: Pick<PoolsRead, "epoch" | "resources">): void {
    // A directory of the version before tells of none, and what is known stays.
    if (resources === undefined) return;
    const { revision, pools } = resources;
    // Two reads may be answered out of turn.
    this.#directoryRevision =
      epoch === this.#epoch ? Math.max(this.#directoryRevision, revision) : revision;
    this.#epoch = epoch;
    for (const { json } of pools) this.#take(JSON.parse(json) as PoolResources);
  }

  #take(told: PoolResources): void {
    const { pool, version } = told;
    if (!this.#names.has(pool) || version <= (this.#pools.get(pool)?.version ?? 0)) return;
    this.#pools.set(pool, told);
    this.#revision += 1;
  }
}

/** What of it is in force. */
export function admittedResources<Resources extends Told>(
  pool: Allowing,
  told: Resources,
): Pick<Resources, ClusterResourceKind> {
  const ignored = ignoredResources(pool, told);
  const isIn = (kind: ClusterResourceKind) => (resource: { readonly name: string }) =>
    !ignored.some((other) => other.kind === kind && other.name === resource.name);
  const { objectives, rewrites } = told;
  return {
    objectives: objectives.filter(isIn("objectives")),
    rewrites: rewrites.filter(isIn("rewrites")),
  } as Pick<Resources, ClusterResourceKind>;
}

/** What of it is not, by the pool's configuration. */
export function ignoredResources(pool: Allowing, told: Told): Ignored[] {
  const { clusterResources: allowed = CLUSTER_RESOURCES_DEFAULT } = pool;
  const own = {
    objectives: new Set(pool.objectives?.map(({ name }) => name)),
    rewrites: new Set(pool.modelRewrites?.map(({ name }) => name)),
  };
  return KINDS.flatMap((kind) =>
    told[kind].flatMap(({ name }): Ignored[] => {
      if (!allowed.includes(kind)) return [{ kind, name, why: "not-allowed" }];
      return own[kind].has(name) ? [{ kind, name, why: "overridden" }] : [];
    }),
  );
}

/** A pool's resources as GET /admin/v1/pools/<pool> shows them. */
export interface DescribedResources {
  /** Names of those in force. */
  readonly objectives: readonly string[];
  readonly rewrites: readonly string[];
  /** `detail`: a sentence for people. */
  readonly ignored: readonly (Ignored & { readonly detail: string })[];
}

const DETAILS = {
  "not-allowed": (kind: ClusterResourceKind) => `the pool's clusterResources does not list ${kind}`,
  overridden: () => "the pool's configuration has one of this name",
};

export function describeResources(
  pool: Allowing,
  { mistaken, ...names }: ClusterResourcesState,
): DescribedResources {
  const told: Told = {
    objectives: names.objectives.map((name) => ({ name })),
    rewrites: names.rewrites.map((name) => ({ name })),
  };
  const { objectives, rewrites } = admittedResources(pool, told);
  const ignored = ignoredResources(pool, told) as (Ignored & { why: keyof typeof DETAILS })[];
  return {
    objectives: objectives.map(({ name }) => name),
    rewrites: rewrites.map(({ name }) => name),
    ignored: [
      ...KINDS.flatMap((kind) =>
        mistaken[kind].map(({ name, why: detail }) => ({
          ...({ kind, name, why: "mistaken" } as const),
          detail,
        })),
      ),
      ...ignored.map((each) => ({ ...each, detail: DETAILS[each.why](each.kind) })),
    ],
  };
}

/** This isolate's. */
export const knownResources = new KnownResources();
