// From the pools that may serve a request to the order in which it is to try them.
//
// Where only one may, nothing is looked at. Otherwise the request is prepared for every name that engines
// have for its model, for caches are known by keys that begin with that name.

import { METRIC } from "../../telemetry/names.ts";
import type { DirectoryIndex } from "../directory-index.ts";
import { metrics } from "../metrics.ts";
import type { ModelRoute } from "../model-routes.ts";
import { type Checked, refuse } from "../openai/errors.ts";
import type { Prepared } from "../parsers/parser.ts";
import { readRequestFacts } from "../request-facts.ts";
import type { Tenant } from "../tenant.ts";
import { breakers } from "./breakers.ts";
import { type ChosenPools, onlyPool, orderPools } from "./chosen-pools.ts";
import { IsolatePools } from "./isolate-pools.ts";
import { knownPools } from "./known-pools.ts";
import { RttMeter } from "./rtt-meter.ts";
import { readSessionAffinity } from "./session-affinity.ts";

/** Names of one model that a request is prepared for; caches under further names count as empty. */
export const MODELS_PREPARED_MAX = 4;

/** This isolate's. */
export const rtts = new RttMeter();
export const isolatePools = new IsolatePools({ known: knownPools, breakers, rtts });

metrics.onRender(() => {
  metrics.reset(METRIC.poolState);
  metrics.reset(METRIC.poolRttSeconds);
  const nowMs = Date.now();
  for (const { pool, state } of isolatePools.states()) {
    metrics.set(METRIC.poolState, { pool, state }, 1);
    const rttMs = rtts.rttMs(pool, nowMs);
    if (rttMs !== undefined) metrics.set(METRIC.poolRttSeconds, { pool }, rttMs / 1_000);
  }
});

/** Those of the routes that an operator has not drained. */
export function openRoutes(routes: readonly ModelRoute[]): Checked<readonly ModelRoute[]> {
  const { drained } = knownPools;
  if (drained.length === 0) return { ok: true, value: routes };
  const open = routes.filter(({ pool }) => !drained.includes(pool.config.name));
  if (open.length > 0) return { ok: true, value: open };
  return refuse("pool_unavailable", ALL_DRAINED);
}

const ALL_DRAINED = "Every pool that serves this model is drained. Retry later.";
const ALL_FILTERED =
  "The filters of `routing.scheduler` leave out every pool that serves this model. Its operator can change them.";

/** What the engines of these pools are asked for, each name once. */
export function modelsOf(routes: readonly ModelRoute[]): string[] {
  const models = new Set<string>();
  for (const { model } of routes) if (models.size < MODELS_PREPARED_MAX) models.add(model);
  return [...models];
}

/** What is known of a request when its pools are chosen. */
export interface ChosenFor {
  readonly directory: DirectoryIndex;
  readonly requestId: string;
  readonly seed: number;
  readonly tenant: Tenant;
  /** The client's. */
  readonly headers: Pick<Headers, "get">;
  readonly promptCacheKey: string | undefined;
  /** By model; that of the first route at least. */
  readonly prepared: ReadonlyMap<string, Prepared>;
}

/** `routes`: at least one; so has the result, which holds no body. */
export function choosePools(
  routes: readonly ModelRoute[],
  chosenFor: ChosenFor,
): Checked<ChosenPools> {
  const [first] = routes;
  if (routes.length === 1) return { ok: true, value: onlyPool(first!) };
  const { directory, requestId, seed, prepared, tenant, headers, promptCacheKey } = chosenFor;
  const nowMs = Date.now();
  knownPools.requested(
    routes.map(({ pool }) => pool.config.name),
    nowMs,
  );
  const { model } = first!;
  const ofFirst = prepared.get(model)!;
  const facts = readRequestFacts(headers, isolatePools.requestHeaders(directory));
  const renamed = renamedAt(routes, model, prepared);
  const request = {
    requestId,
    tenant: tenant.id,
    model,
    keys: ofFirst.keys,
    promptTokens: ofFirst.promptTokens,
    outputTokensMax: ofFirst.outputTokensMax,
    session: readSessionAffinity({ tenant: tenant.id, headers, promptCacheKey, prepared: ofFirst }),
    ...(facts.headers === undefined ? {} : { headers: facts.headers }),
    ...(renamed === undefined ? {} : { renamed }),
  };
  const chosen = orderPools({ pools: isolatePools, directory, routes, request, seed });
  if (chosen.routes.length > 0) return { ok: true, value: chosen };
  // Some may have been drained since the request came.
  const isDrained = chosen.candidates.every(({ state }) => state === "drained");
  return refuse("pool_unavailable", isDrained ? ALL_DRAINED : ALL_FILTERED);
}

const NO_KEYS = new Uint32Array();

function renamedAt(
  routes: readonly ModelRoute[],
  model: string,
  prepared: ReadonlyMap<string, Prepared>,
): ReadonlyMap<string, { readonly model: string; readonly keys: Uint32Array }> | undefined {
  if (routes.every((route) => route.model === model)) return undefined;
  return new Map(
    routes.map((route) => [
      route.pool.config.name,
      { model: route.model, keys: prepared.get(route.model)?.keys ?? NO_KEYS },
    ]),
  );
}
