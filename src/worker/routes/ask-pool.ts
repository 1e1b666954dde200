// An administrator's question to a pool's objects.

import type { Context } from "hono";
import type { PoolConfig } from "../../config/deployment.ts";
import { type PoolAddress, poolAddress } from "../../config/pool-address.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import { type Checked, refuse } from "../openai/errors.ts";
import type { Answers } from "../shards/answers.ts";
import { withDeadline } from "../shared-copy.ts";

const ASK_DEADLINE_MS = 5_000;

/**
 * Asks all objects of the pool of this name at once; objects of pools that are not configured are never
 * created. Fails where none answers.
 */
export async function askPool<Answer>(
  c: Context<AppEnv>,
  name: string,
  ask: (address: PoolAddress, shard: number) => Promise<Answer>,
): Promise<Checked<Answers<Answer>>> {
  const pool = await configuredPool(c, name);
  if (!pool.ok) return pool;
  const count = pool.value.shards;
  const settled = await Promise.allSettled(
    Array.from({ length: count }, (_, shard) =>
      withDeadline(ask(poolAddress(pool.value, shard), shard), ASK_DEADLINE_MS),
    ),
  );
  const answers = settled.flatMap((result, shard) =>
    result.status === "fulfilled" ? [{ shard, value: result.value }] : [],
  );
  if (answers.length === 0) return UNANSWERED;
  const missing = settled.flatMap(({ status }, shard) => (status === "rejected" ? [shard] : []));
  return { ok: true, value: { count, answers, missing } };
}

/**
 * Whether the pool has an object of this number. One beyond the count that this isolate knows may be newer, or have
 * something to end: the directory knows. Any other would be created by being asked.
 */
export async function hasShard(
  c: Context<AppEnv>,
  { name, shards }: PoolConfig,
  shard: number,
): Promise<Checked<boolean>> {
  if (shard < shards) return { ok: true, value: true };
  try {
    const asked = c.env.CONTROL.hasShard(name, shard);
    return { ok: true, value: await withDeadline(asked, ASK_DEADLINE_MS) };
  } catch {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
}

/** Asks one object of a pool, which has it. */
export async function askShard<Answer>(
  config: PoolConfig,
  shard: number,
  ask: (address: PoolAddress) => Promise<Answer>,
): Promise<Checked<Answer>> {
  try {
    return {
      ok: true,
      value: await withDeadline(ask(poolAddress(config, shard)), ASK_DEADLINE_MS),
    };
  } catch {
    return UNANSWERED;
  }
}

/** Unreachable, overloaded or too slow, or reset during the call. */
const UNANSWERED = refuse("pool_unavailable", "The pool's object did not answer. Retry.");

/** The configuration of the pool of this name. */
export async function configuredPool(
  c: Context<AppEnv>,
  name: string,
): Promise<Checked<PoolConfig>> {
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  if (directory === undefined) {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
  const pool = directory.pool(name);
  if (pool === undefined) {
    return refuse("not_found", "No pool of this name is configured.");
  }
  return { ok: true, value: pool.config };
}
