// GET /admin/v1/pools/<pool>/decisions: what was decided lately, page by page.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import type { DecisionQuery } from "../../durable/state.ts";
import type { AppEnv } from "../call.ts";
import { type Checked, errorResponse, refuse } from "../openai/errors.ts";
import { askPool } from "./ask-pool.ts";

const HOUR_S = 3_600;
const QUERY = {
  /** Seconds. Records are in memory and rarely reach as far. */
  since: { least: 1, most: 30 * 24 * HOUR_S, unlessGiven: HOUR_S },
  /** A page may have fewer. */
  limit: { least: 1, most: 1_000, unlessGiven: 32 },
  before: { least: 0, most: Number.MAX_SAFE_INTEGER, unlessGiven: undefined },
} as const;

export async function listDecisions(c: Context<AppEnv>): Promise<Response> {
  const query = parseQuery(c.req.query());
  if (!query.ok) return errorResponse(query.error);
  const asked = await askPool(c, c.req.param("pool") ?? "", (pool) =>
    poolsFor(c.env, pool).decisions(pool, query.value),
  );
  if (!asked.ok) return errorResponse(asked.error);
  return Response.json(asked.value, { headers: { "cache-control": "no-store" } });
}

function parseQuery(given: Readonly<Record<string, string>>): Checked<DecisionQuery> {
  const values: Partial<Record<keyof typeof QUERY, number>> = {};
  for (const name of Object.keys(QUERY) as (keyof typeof QUERY)[]) {
    const { least, most, unlessGiven } = QUERY[name];
    const text = given[name];
    const value = text === undefined ? unlessGiven : wholeNumber(text);
    if (text !== undefined && (value === undefined || value < least || value > most)) {
      const unit = name === "since" ? " of seconds" : "";
      const message = `${name} takes a whole number${unit} from ${least} to ${most}.`;
      return refuse("invalid_value", message, name);
    }
    if (value !== undefined) values[name] = value;
  }
  const { since, limit, before } = values;
  const query = { agoMs: since! * 1_000, limit: limit! };
  return { ok: true, value: before === undefined ? query : { ...query, before } };
}

function wholeNumber(text: string): number | undefined {
  return /^[0-9]{1,16}$/.test(text) ? Number(text) : undefined;
}
