// GET /agents/v1/<pool>: the WebSocket of a collector or a relay, on to the pool's object.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import { poolAddress } from "../../config/pool-address.ts";
import { agentRefusal } from "../auth.ts";
import type { AppEnv } from "../call.ts";
import { readDirectory } from "../directory.ts";
import { errorResponse, refuse } from "../openai/errors.ts";

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
  // A new request: the object sees no header of the agent's.
  const address = poolAddress(pool!.config);
  return poolsFor(c.env, address).fetch(`https://pools.invalid/agents/v1/${address}`, {
    headers: { upgrade: "websocket" },
  });
}
