// From the model a client names to the pools that serve it, and what each pool's engines call it.
//
// The client's name decides who may use it and which pools come into question: those whose `models`
// list it, and those that rewrite it. Only then each pool rewrites it, since rewrites are the pool's.
// What a name stands for needs no grant of its own: whoever may use the name may use that.

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

/** Pools to try, in order; at least one. */
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
  const rng = createRng(seed);
  const routes: ModelRoute[] = [];
  for (const pool of pools) {
    if (pool.parsers.find(path)?.type !== parser) continue;
    const resolved = pool.rewrites.resolve({ model }, rng);
    if (resolved === undefined) continue;
    routes.push({ pool, model: resolved.target, rewrite: resolved.rewrite });
  }
  if (routes.length > 0) return { ok: true, value: routes };
  return refuse(
    "not_found",
    `No pool that serves this model takes ${path}: none of them is configured to read it.`,
  );
}

/** The same for a model that is not there and one that is not the tenant's. */
export function modelNotFound(model: string): string {
  return (
    `The model \`${model}\` does not exist or you do not have access to it. ` +
    "GET /v1/models lists those you may use."
  );
}
