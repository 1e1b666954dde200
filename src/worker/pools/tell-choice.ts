// What is told of a choice among pools: to the log, to metrics, and to the client.

import {
  FAIRLEAD_POOL_HEADER,
  FAIRLEAD_VARIANT_HEADER,
  VARIANT_UNNAMED,
} from "../../agents/protocol/headers.ts";
import { encodeModelName } from "../../agents/protocol/model-name.ts";
import type { PoolCandidate } from "../../scheduler/pools/contracts.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import type { RequestFacts } from "../telemetry.ts";
import { grantHeaders } from "../upstream/grant-headers.ts";
import type { ChosenPools } from "./chosen-pools.ts";

/**
 * Why a request went where it went: `failover` after another pool; `tier` because the others were in a worse
 * one; `cost` as the cheapest of its tier; `draw` by lot among those that cost about as much.
 */
export type ChoiceReason = "failover" | "tier" | "cost" | "draw";

/** Completes the facts of a request that has been dispatched, in vain or not. Nothing where nothing was chosen. */
export function noteChoice(facts: RequestFacts, { routes, candidates }: ChosenPools): void {
  const { pool } = facts;
  if (candidates.length === 0 || pool === undefined) return;
  const chosen = candidates.find((candidate) => candidate.pool === pool);
  if (chosen !== undefined) facts.poolTier = chosen.tier;
  const runnerUp = candidates.find((candidate) => candidate.pool !== pool);
  if (runnerUp !== undefined) facts.runnerUp = runnerUp.pool;
  const route = routes.find((each) => each.pool.config.name === pool);
  if (route?.isFallback === true) facts.variant = route.variant ?? VARIANT_UNNAMED;
  const isFirst = routes[0]?.pool.config.name === pool;
  const reason = isFirst ? reasonOf(candidates) : "failover";
  metrics.inc(METRIC.poolChoicesTotal, { pool, reason });
}

/** Of the first. */
function reasonOf([first, ...others]: readonly PoolCandidate[]): ChoiceReason {
  const equals = others.filter(({ tier }) => tier === first!.tier);
  if (equals.length === 0) return "tier";
  return equals.every(({ costMs }) => costMs >= first!.costMs) ? "cost" : "draw";
}

/** For the answer of the pool of this name. */
export function poolHeaders(
  { routes, responseHeaders }: ChosenPools,
  served: string | undefined,
  isPoolExposed: boolean,
): Record<string, string> {
  const route = routes.find(({ pool }) => pool.config.name === served);
  if (route === undefined) return {};
  const { name } = route.pool.config;
  const headers: Record<string, string> = {};
  if (responseHeaders.length > 0) {
    const endpoints = routes.map(({ pool }) => pool.config.name);
    Object.assign(headers, grantHeaders({ endpoints, responseHeaders }, name));
  }
  // Set one by one: names that are computed make a literal slow.
  if (isPoolExposed) headers[FAIRLEAD_POOL_HEADER] = name;
  if (route.isFallback) {
    const { variant } = route;
    headers[FAIRLEAD_VARIANT_HEADER] =
      variant === null ? VARIANT_UNNAMED : encodeModelName(variant);
  }
  return headers;
}
