// Which coordinator holds a pool's object.
//
// On Cloudflare, and in one workerd, there is one coordinator: the script itself. Self-hosted, pools
// can be spread over several workerd processes. Rendezvous hashing: each coordinator gets a weight
// from the pool's name and its own ordinal, and the greatest weight wins. So every process comes to
// the same answer by itself, and another coordinator takes over only the pools that it wins.
//
// Shards of one pool go in turn, each to the coordinator that it likes best of those which have the fewest
// of the pool: a pool is split because one object, and so one thread, is too little for it. Another
// coordinator takes a fair part of them, and may set off a few that change places.

import { type PoolAddress, poolNameOf, shardIndexOf } from "./pool-address.ts";

export const COORDINATORS_MAX = 8;

/** Holds the directory and the settings, beside its share of the pools. */
export const CONTROL_ORDINAL = 0;

/**
 * The service bindings of the `Pools` entrypoints, one per coordinator, without a gap. The first one
 * has no number: wrangler.toml has only that one.
 */
export interface PoolsBindings<Pools> {
  readonly POOLS: Pools;
  readonly POOLS_1?: Pools;
  readonly POOLS_2?: Pools;
  readonly POOLS_3?: Pools;
  readonly POOLS_4?: Pools;
  readonly POOLS_5?: Pools;
  readonly POOLS_6?: Pools;
  readonly POOLS_7?: Pools;
  /** Ordinals of pools that a coordinator was given by hand, in the place of their hash's. */
  readonly POOL_PLACES?: Readonly<Record<string, number>>;
}

/** At `i`: the binding of coordinator `i`. */
export const POOLS_BINDING_NAMES = [
  "POOLS",
  "POOLS_1",
  "POOLS_2",
  "POOLS_3",
  "POOLS_4",
  "POOLS_5",
  "POOLS_6",
  "POOLS_7",
] as const satisfies readonly Exclude<keyof PoolsBindings<unknown>, "POOL_PLACES">[];

/** The binding that reaches a pool's object. Its calls take the same address. */
export function poolsFor<Pools>(env: PoolsBindings<Pools>, address: PoolAddress): Pools {
  // Nearly every deployment: no hash on the way of a request.
  if (env.POOLS_1 === undefined) return env.POOLS;
  let count = 2;
  while (count < COORDINATORS_MAX && env[POOLS_BINDING_NAMES[count]!] !== undefined) count++;
  const name = poolNameOf(address);
  const places = env.POOL_PLACES;
  const first =
    places !== undefined && Object.hasOwn(places, name)
      ? places[name]!
      : coordinatorOf(name, count);
  const shard = shardIndexOf(address);
  const ordinal = shard === 0 ? first : shardCoordinatorOf({ name, first }, shard, count);
  return env[POOLS_BINDING_NAMES[ordinal]!]!;
}

/** The ordinal of the coordinator of a shard above 0, of `count` in all; `first` has shard 0. */
function shardCoordinatorOf(
  { name, first }: { readonly name: string; readonly first: number },
  shard: number,
  count: number,
): number {
  const held = new Uint8Array(count);
  held[first] = 1;
  let ordinal = first;
  for (let each = 1; each <= shard; each++) {
    const hash = fnv1a(`${name}~${each}`);
    let bestWeight = -1;
    const fewest = Math.min(...held);
    for (let other = 0; other < count; other++) {
      if (held[other] !== fewest) continue;
      const weight = mix(hash ^ mix(other + 1));
      if (weight <= bestWeight) continue;
      ordinal = other;
      bestWeight = weight;
    }
    held[ordinal]! += 1;
  }
  return ordinal;
}

/** The ordinal of the pool's coordinator, of `count` in all. */
export function coordinatorOf(pool: string, count: number): number {
  if (!Number.isInteger(count) || count < 1 || count > COORDINATORS_MAX)
    throw new RangeError(`${count} coordinators; 1 to ${COORDINATORS_MAX} are allowed`);
  const hash = fnv1a(pool);
  let best = 0;
  let bestWeight = -1;
  for (let ordinal = 0; ordinal < count; ordinal++) {
    const weight = mix(hash ^ mix(ordinal + 1));
    if (weight > bestWeight) {
      best = ordinal;
      bestWeight = weight;
    }
  }
  return best;
}

/** FNV-1a of 32 bits. Pool names are ASCII. It decides where data lies: it must never change. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

/** MurmurHash3's finalizer: each bit of the input changes half of the output's. Never changes. */
function mix(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
