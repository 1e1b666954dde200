// From the model a client names to the pools that serve it, and what each pool's engines call it.
//
// The client's name decides who may use it and which pools come into question: those whose `models`
// list it, and those that rewrite it. Only then each pool rewrites it, since rewrites are the pool's.
// What a name stands for needs no grant of its own: whoever may use the name may use that.
//
// A request stays within one variant of its model, so that no failover changes what answers:
//
//   a pool's variant    its `variants` entry for what its engines are asked for, or else for the
//                       client's name: pools with the same one are equal, whatever their engines call it
//   without an entry    what its engines are asked for: never equal to a variant that has a name
//   the request's       that of the pool with the lowest `failoverTier`, the first of these in the
//                       configuration, among those the tenant may use: neither load nor failures choose it
//
// Tenants with `variantFallback` may also be given to the other variants, after all pools of the first.

import { createRng } from "../scheduler/support/rng.ts";
import type { DirectoryIndex, Pool } from "./directory-index.ts";
import type { Tenant } from "./tenant.ts";
import { type Checked, refuse } from "./openai/errors.ts";

/** A pool to try. */
export interface ModelRoute {
  readonly pool: Pool;
  /** What its engines are asked for. */
  readonly model: string;
  /** The rewrite that says so; null: the client's own name. */
  readonly rewrite: string | null;
  /** What the model really is there, as the configuration names it; null: it does not say. */
  readonly variant: string | null;
  /** Of another variant than the request's. */
  readonly isFallback: boolean;
}

export interface RoutedRequest {
  /** The client's; null: it names none. */
  readonly model: string | null;
  readonly path: string;
  /** Of the parser that read the body: a pool that reads the path otherwise is not asked. */
  readonly parser: string;
  readonly tenant: Tenant;
  /** Weighted targets are drawn from it: the same request is always routed the same. */
  readonly seed: number;
}

/** Pools that may be tried, in the order of the configuration, fallbacks last; at least one. */
export function findRoutes(
  directory: Pick<DirectoryIndex, "poolsServing">,
  { model, path, parser, tenant, seed }: RoutedRequest,
): Checked<ModelRoute[]> {
  const pools = directory.poolsServing(model, tenant);
  if (pools.length === 0) {
    if (model !== null) return refuse("model_not_found", modelNotFound(model), "model");
    const message = "Missing required parameter `model`: expected the name of a model.";
    return refuse("invalid_value", message, "model");
  }
  const routes: ModelRoute[] = [];
  for (const pool of pools) {
    if (pool.parsers.find(path)?.type !== parser) continue;
    // Drawn anew, so that pools with the same weights draw the same: a failover keeps the target.
    const resolved = pool.rewrites.resolve({ model }, createRng(seed));
    if (resolved === undefined) continue;
    const { target, rewrite } = resolved;
    const variant = variantOf(pool, target, model);
    routes.push({ pool, model: target, rewrite, variant, isFallback: false });
  }
  if (routes.length > 0) return { ok: true, value: withinVariant(routes, tenant) };
  return refuse(
    "not_found",
    `No pool that serves this model takes ${path}: none of them is configured to read it.`,
  );
}

function variantOf({ config }: Pool, target: string, model: string | null): string | null {
  const { variants } = config;
  if (variants === undefined) return null;
  return variants[target] ?? (model === null ? undefined : variants[model]) ?? null;
}

/** Those of the request's variant, and behind them the others where the tenant allows them. */
function withinVariant(routes: ModelRoute[], tenant: Tenant): ModelRoute[] {
  const first = routes.reduce((best, route) =>
    route.pool.config.failoverTier < best.pool.config.failoverTier ? route : best,
  );
  const own = routes.filter((route) => isSameVariant(route, first));
  if (own.length === routes.length || !tenant.variantFallback) return own;
  const others = routes.filter((route) => !own.includes(route));
  return [...own, ...others.map((route) => ({ ...route, isFallback: true }))];
}

function isSameVariant(a: ModelRoute, b: ModelRoute): boolean {
  return a.variant === null && b.variant === null ? a.model === b.model : a.variant === b.variant;
}

/** The same for a model that is not there and one that is not the tenant's. */
export function modelNotFound(model: string): string {
  return (
    `The model \`${model}\` does not exist or you do not have access to it. ` +
    "GET /v1/models lists those you may use."
  );
}
