// GET /admin/v1/pools/<pool>/decisions: what was decided lately, page by page.

import type { Context } from "hono";
import { poolsFor } from "../../config/coordinators.ts";
import type { DecisionPage, DecisionQuery } from "../../durable/state.ts";
import type { AppEnv } from "../call.ts";
import { type Checked, errorResponse, refuse } from "../openai/errors.ts";
import {
  type MergedPage,
  mergePages,
  parseCursor,
  type Place,
  queryAt,
} from "../shards/merge-decisions.ts";
import { type Answers, answeredShards } from "../shards/answers.ts";
import { askPool, configuredPool } from "./ask-pool.ts";

const HOUR_S = 3_600;
const QUERY = {
  /** Seconds. Records are in memory and rarely reach as far. */
  since: { least: 1, most: 30 * 24 * HOUR_S, unlessGiven: HOUR_S },
  /** A page may have fewer. */
  limit: { least: 1, most: 1_000, unlessGiven: 32 },
  before: { least: 0, most: Number.MAX_SAFE_INTEGER, unlessGiven: undefined },
} as const;

/** Of a pool of several objects, `before` is the cursor of an earlier page. */
export async function listDecisions(c: Context<AppEnv>): Promise<Response> {
  const name = c.req.param("pool") ?? "";
  const pool = await configuredPool(c, name);
  if (!pool.ok) return errorResponse(pool.error);
  const { shards } = pool.value;
  const { before: cursor, ...given } = c.req.query();
  const query = parseQuery(shards === 1 ? c.req.query() : given);
  if (!query.ok) return errorResponse(query.error);
  const places = shards === 1 ? ONE : placesOf(cursor, shards);
  if (places === undefined) {
    const message = "before takes the `next` of an earlier page, of as many objects.";
    return errorResponse(refuse("invalid_value", message, "before").error);
  }
  const asked = await askPool(c, name, (address, shard) =>
    poolsFor(c.env, address).decisions(address, queryAt(places[shard] ?? "newest", query.value)),
  );
  if (!asked.ok) return errorResponse(asked.error);
  return Response.json(pageOf(asked.value, places, query.value), NO_STORE);
}

const NO_STORE = { headers: { "cache-control": "no-store" } };
const ONE: readonly Place[] = ["newest"];

function placesOf(cursor: string | undefined, shards: number): readonly Place[] | undefined {
  if (cursor !== undefined) return parseCursor(cursor, shards);
  return Array.from({ length: shards }, () => "newest");
}

function pageOf(
  answers: Answers<DecisionPage>,
  places: readonly Place[],
  { limit }: DecisionQuery,
): DecisionPage | MergedPage {
  if (answers.count === 1) return answers.answers[0]!.value;
  return { ...mergePages(answers, places, limit), ...answeredShards(answers) };
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
