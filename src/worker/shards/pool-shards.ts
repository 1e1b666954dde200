// How this isolate spreads the requests of pools over their objects.
//
//   count    the configuration's; for a moment that of an object which takes no requests any more
//   splits   as objects have told them last; nobody is refused for going by older ones
//
// So a change of count is heeded with the configuration, at once, and splits as they come.

import { DEPLOYMENT_LIMITS, type PoolConfig } from "../../config/deployment.ts";
import { ONE_SHARD, type ShardMap } from "../../scheduler/shards/contracts.ts";
import { type PreparedShards, prepareShards } from "../../scheduler/shards/shard-of.ts";

/** Pools remembered; every pool of a full deployment fits. */
export const POOLS_MAX = DEPLOYMENT_LIMITS.poolsMax;
/** The configuration of this isolate is as new by then; an object that was not told of one may be as late. */
export const MOVED_MS = 5_000;
/** Versions rise, unless the object that makes them has begun anew: nobody has named this one since. */
export const MAP_UNNAMED_MS = 60_000;

interface Known {
  /** Its count is not heeded. */
  map: ShardMap;
  namedAtMs: number;
  prepared: PreparedShards;
  moved: { readonly count: number; readonly untilMs: number } | undefined;
}

export class PoolShards {
  readonly #known = new Map<string, Known>();

  of({ name, shards }: Pick<PoolConfig, "name" | "shards">, nowMs: number): PreparedShards {
    const known = this.#known.get(name);
    if (known === undefined) {
      // Nearly every pool: nothing to remember.
      if (shards === 1) return ONE;
      return this.#add(name, { ...ONE_SHARD, count: shards }, nowMs).prepared;
    }
    const { moved } = known;
    const count = moved !== undefined && nowMs < moved.untilMs ? moved.count : shards;
    if (known.prepared.count !== count) known.prepared = prepareShards({ ...known.map, count });
    return known.prepared;
  }

  /** An object has told the map with its snapshot. */
  heard(pool: string, map: ShardMap, nowMs: number): void {
    const known = this.#known.get(pool) ?? this.#add(pool, map, nowMs);
    const isNewer = map.version > known.map.version;
    if (isNewer || nowMs - known.namedAtMs >= MAP_UNNAMED_MS) {
      known.map = map;
      known.prepared = prepareShards({ ...map, count: known.prepared.count });
    }
    if (map.version === known.map.version) known.namedAtMs = nowMs;
  }

  /** An object takes no requests, and has said how many do. */
  moved(pool: string, map: ShardMap, nowMs: number): void {
    this.heard(pool, map, nowMs);
    this.#known.get(pool)!.moved = { count: map.count, untilMs: nowMs + MOVED_MS };
  }

  #add(pool: string, map: ShardMap, nowMs: number): Known {
    // Only pools of the configuration are asked for; renaming them long enough could fill this.
    if (this.#known.size >= POOLS_MAX) this.#known.clear();
    const known = { map, namedAtMs: nowMs, prepared: prepareShards(map), moved: undefined };
    this.#known.set(pool, known);
    return known;
  }
}

const ONE = prepareShards(ONE_SHARD);

/** This isolate's. */
export const poolShards = new PoolShards();
