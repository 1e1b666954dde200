// GET /agents/v1/<pool>?shard=N: the WebSocket of a collector or a relay, on to the pool's object, or to the
// one of its objects with that number; without one, to the first.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import { poolAddress } from "../../config/pool-address.ts";
import { agentRefusal } from "../auth.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import { errorResponse, refuse } from "../openai/errors.ts";
import { hasShard } from "./ask-pool.ts";

export async function connectAgent(c: Context<AppEnv>): Promise<Response> {
  const directory = await readDirectory(c.env, (work) => c.executionCtx.waitUntil(work));
  if (directory === undefined) {
    return errorResponse(
      refuse("configuration_unavailable", "The configuration cannot be read. Retry.").error,
    );
  }
  const name = c.req.param("pool") ?? "";
  const pool = directory.pool(name);
  const refusal = await agentRefusal(c.req.raw, pool);
  if (refusal !== undefined) return errorResponse(refusal);
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    const { error } = refuse("upgrade_required", "Agents speak WebSocket here.");
    return errorResponse({ ...error, headers: { upgrade: "websocket" } });
  }
  const shard = parseShard(c.req.query("shard"));
  const { shards } = pool!.config;
  if (shard === undefined) return noSuchShard(shards);
  const isThere = await hasShard(c, pool!.config, shard);
  if (!isThere.ok) return errorResponse(isThere.error);
  if (!isThere.value) return noSuchShard(shards);
  // A new request: the object sees no header of the agent's.
  const address = poolAddress(pool!.config, shard);
  const answer = await poolsFor(c.env, address).fetch(
    `https://pools.invalid/agents/v1/${address}`,
    {
      headers: { upgrade: "websocket" },
    },
  );
  // An object that is not counted any more knows by itself for how long it still listens.
  return answer.status === 404 && shard >= shards ? noSuchShard(shards) : answer;
}

function parseShard(text: string | undefined): number | undefined {
  if (text === undefined) return 0;
  const shard = SHARD.test(text) ? Number(text) : SHARDS_MAX;
  return shard < SHARDS_MAX ? shard : undefined;
}
const SHARD = /^[0-9]{1,2}$/;

function noSuchShard(shards: number): Response {
  const message = `shard: the pool has ${shards}, numbered from 0.`;
  return errorResponse(refuse("not_found", message, "shard").error);
}
