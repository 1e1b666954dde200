// How this Worker reaches the objects of pools.

import { poolsFor } from "../../config/coordinators.ts";
import { objectRttMs } from "../../config/object-rtt.ts";
import { type PoolAddress, poolObject } from "../../config/pool-address.ts";
import type { EdgePort, PoolPort } from "../../durable/contract.ts";
import type { PoolObject } from "../../durable/pool.ts";
import { fartherPort } from "./farther-port.ts";

/**
 * A way to the pool's object. Make one for each call: a stub that has failed once
 * stays broken. Where the script holds the objects itself, the object is asked directly: the
 * entrypoint between would cost as much as the object's answer (docs/decisions/014-pick-path.md).
 */
export function poolPort(env: Env, pool: PoolAddress): PoolPort & EdgePort {
  const rttMs = objectRttMs(env);
  return rttMs === 0 ? nearPort(env, pool) : fartherPort(nearPort(env, pool), rttMs);
}

function nearPort(env: Env, pool: PoolAddress): PoolPort & EdgePort {
  // The binding's generated type cannot say that an edge of its own has none.
  const namespace = env.POOL as DurableObjectNamespace<PoolObject> | undefined;
  // What comes through RPC has the types of stubs; PoolPort says what is used of them.
  if (namespace !== undefined) return poolObject(namespace, pool) as unknown as PoolPort & EdgePort;
  const pools = poolsFor(env, pool) as unknown as PoolsPort;
  return {
    pick: (request) => pools.pick(pool, request),
    leave: (requestId, attempt) => pools.leave(pool, requestId, attempt),
    sync: (sync) => pools.sync(pool, sync),
  };
}

/** The part of the entrypoint that is on a request's way; it may be of another version. */
interface PoolsPort {
  pick(pool: string, ...call: Parameters<PoolPort["pick"]>): ReturnType<PoolPort["pick"]>;
  sync(pool: string, ...call: Parameters<EdgePort["sync"]>): ReturnType<EdgePort["sync"]>;
  leave(pool: string, ...call: Parameters<PoolPort["leave"]>): ReturnType<PoolPort["leave"]>;
}
