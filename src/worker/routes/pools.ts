// /admin/v1/pools: which pools there are, how they are, and whether they get requests. The router has
// checked the admin key before any of this.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import type { AppEnv } from "../call.ts";
import { forgetDirectory, readStoredPools } from "../directory.ts";
import { errorResponse, refuse } from "../openai/errors.ts";
import { describeResources } from "../pools/cluster-resources.ts";
import { knownPools } from "../pools/known-pools.ts";
import { listPools } from "../pools/pool-list.ts";
import { mergeQueues } from "../shards/merge-queues.ts";
import { mergeStates } from "../shards/merge-state.ts";
import { answeredShards } from "../shards/answers.ts";
import { askPool, configuredPool } from "./ask-pool.ts";

const QUEUE_OFF =
  "Flow control is off, so requests do not wait in this pool. It is on with featureGates: [flowControl] " +
  "in the pool's scheduler.";
const NO_STORE = { headers: { "cache-control": "no-store" } };

/** GET /admin/v1/pools: all of them, as the directory knows them. */
export async function getPools(c: Context<AppEnv>): Promise<Response> {
  const askedAtMs = Date.now();
  const { version, deployment, pools } = await readStoredPools(c.env);
  return Response.json({ version, pools: listPools(deployment, pools, askedAtMs) }, NO_STORE);
}

/** GET /admin/v1/pools/<pool>: what its object says, or its objects. */
export async function getPool(c: Context<AppEnv>): Promise<Response> {
  const name = c.req.param("pool") ?? "";
  const asked = await askPool(c, name, (pool) => poolsFor(c.env, pool).state(pool));
  if (!asked.ok) return errorResponse(asked.error);
  const drained = knownPools.drained.includes(name);
  const merged = mergeStates(asked.value.answers.map(({ value }) => value));
  const { clusterResources: told, ...state } = merged;
  const shown = { ...state, ...answeredShards(asked.value), drained };
  const pool = await configuredPool(c, name);
  if (told === undefined || !pool.ok) return Response.json(shown);
  return Response.json({ ...shown, clusterResources: describeResources(pool.value, told) });
}

/** POST /admin/v1/pools/<pool>/drain: no new requests; those it has go on. Idempotent. */
export function drainPool(c: Context<AppEnv>): Promise<Response> {
  return setDrained(c, true);
}

/** POST /admin/v1/pools/<pool>/undrain: requests again. Idempotent. */
export function undrainPool(c: Context<AppEnv>): Promise<Response> {
  return setDrained(c, false);
}

async function setDrained(c: Context<AppEnv>, isDrained: boolean): Promise<Response> {
  const name = c.req.param("pool") ?? "";
  const answer = await c.env.CONTROL.drainPool(name, isDrained);
  if (!answer.ok) {
    const there = answer.pools.length === 0 ? "none" : answer.pools.join(", ");
    const message = `No pool of this name is configured. There are: ${there}.`;
    return errorResponse(refuse("not_found", message).error);
  }
  forgetDirectory();
  const { pool, drained, changed, notes } = answer;
  return Response.json({ pool, drained, changed, notes }, NO_STORE);
}

/** GET /admin/v1/pools/<pool>/queue: what waits. `queue` is null where nothing ever does, and `note` says why. */
export async function getQueue(c: Context<AppEnv>): Promise<Response> {
  const name = c.req.param("pool") ?? "";
  const asked = await askPool(c, name, (pool) => poolsFor(c.env, pool).queueState(pool));
  if (!asked.ok) return errorResponse(asked.error);
  // Objects that have not heard of a new configuration yet may differ in that.
  const states = asked.value.answers.flatMap(({ value }) => value ?? []);
  const shards = answeredShards(asked.value);
  const answer =
    states.length === 0
      ? { pool: name, queue: null, ...shards, note: QUEUE_OFF }
      : { pool: name, queue: mergeQueues(states), ...shards };
  return Response.json(answer, NO_STORE);
}
