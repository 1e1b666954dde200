// An administrator's question to a pool's object.

import type { Context } from "hono";
import { type PoolAddress, poolAddress } from "../../config/pool-address.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import { type Checked, refuse } from "../openai/errors.ts";
import { withDeadline } from "../shared-copy.ts";

const ASK_DEADLINE_MS = 5_000;

/** Asks the pool of this name; objects of pools that are not configured are never created. */
export async function askPool<Answer>(
  c: Context<AppEnv>,
  name: string,
  ask: (pool: PoolAddress) => Promise<Answer>,
): Promise<Checked<Answer>> {
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  if (directory === undefined) {
    return refuse("configuration_unavailable", "The configuration cannot be read. Retry.");
  }
  const pool = directory.pool(name);
  if (pool === undefined) {
    return refuse("not_found", "No pool of this name is configured.");
  }
  try {
    return { ok: true, value: await withDeadline(ask(poolAddress(pool.config)), ASK_DEADLINE_MS) };
  } catch {
    // The object is unreachable, overloaded or too slow, or was reset during the call.
    return refuse("pool_unavailable", "The pool's object did not answer. Retry.");
  }
}
