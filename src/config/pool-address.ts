// What a pool's object is reached by: the pool's name, which of the pool's shards it is, and the jurisdiction
// that it must stay in.
//
// An object's id depends on both, so in another jurisdiction there is another object, and everybody who
// asks for one must say the same. Where nothing is said of a jurisdiction, the address is the name.

import type { PoolConfig } from "./deployment.ts";

declare const brand: unique symbol;
/** `name`, `name~shard`, either with `@jurisdiction`. Only `poolAddress` makes one. */
export type PoolAddress = string & { readonly [brand]: never };

export type Jurisdiction = NonNullable<PoolConfig["jurisdiction"]>;

/** What is used of a namespace of objects. */
interface Namespace<Stub, Options> {
  getByName(name: string, options?: Options): Stub;
  jurisdiction(jurisdiction: Jurisdiction): Namespace<Stub, Options>;
}

const SEPARATOR = "@";
const SHARD_SEPARATOR = "~";
/** workerd by itself runs where it is: it knows no jurisdictions, and says so at the first call. */
const WITHOUT_JURISDICTIONS = /not implemented/;

/** The one way to a pool's address. Shard 0 has the pool's own, as the only object of a pool has. */
export function poolAddress({ name, jurisdiction }: AddressedPool, shard = 0): PoolAddress {
  const object = shard === 0 ? name : `${name}${SHARD_SEPARATOR}${shard}`;
  return (jurisdiction === undefined ? object : object + SEPARATOR + jurisdiction) as PoolAddress;
}

type AddressedPool = Pick<PoolConfig, "name"> & {
  readonly jurisdiction?: Jurisdiction | undefined;
};

/** The pool's name in its address. */
export function poolNameOf(address: PoolAddress): string {
  return splitAddress(address).name.split(SHARD_SEPARATOR)[0]!;
}

/** Which of the pool's shards is at an address; 0 for the pool's own. */
export function shardIndexOf(address: PoolAddress): number {
  return Number(splitAddress(address).name.split(SHARD_SEPARATOR)[1] ?? 0);
}

/**
 * The object at an address, which may come from outside. Self-hosted, jurisdictions are not kept: the
 * object is where its process is.
 */
export function poolObject<Stub, Options>(
  namespace: Namespace<Stub, Options>,
  address: string,
  options?: Options,
): Stub {
  const { name, jurisdiction } = splitAddress(address);
  const isKept = jurisdiction !== undefined && keepsJurisdictions(namespace);
  return (isKept ? namespace.jurisdiction(jurisdiction) : namespace).getByName(name, options);
}

const known = new WeakMap<object, boolean>();

/** Whether objects stay in a jurisdiction that is asked for. Looked up once. */
export function keepsJurisdictions(namespace: Pick<Namespace<unknown, never>, "jurisdiction">) {
  let isKept = known.get(namespace);
  if (isKept === undefined) {
    isKept = tryJurisdiction(namespace);
    known.set(namespace, isKept);
  }
  return isKept;
}

function tryJurisdiction(namespace: Pick<Namespace<unknown, never>, "jurisdiction">): boolean {
  try {
    namespace.jurisdiction("eu");
    return true;
  } catch (error) {
    // Nothing else may lead to an object outside of the jurisdiction that was asked for.
    if (error instanceof Error && WITHOUT_JURISDICTIONS.test(error.message)) return false;
    throw error;
  }
}

function splitAddress(address: string): { name: string; jurisdiction: Jurisdiction | undefined } {
  const at = address.indexOf(SEPARATOR);
  if (at === -1) return { name: address, jurisdiction: undefined };
  // What is no jurisdiction, Cloudflare refuses.
  return { name: address.slice(0, at), jurisdiction: address.slice(at + 1) as Jurisdiction };
}
