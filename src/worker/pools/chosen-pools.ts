// The pools for one request, in the order to try them.
//
//   the request's variant, usable    by the chooser: its tiers, and cost within a tier
//   other variants                   the same among them; only where the tenant allows them
//   the request's variant, the rest  open or empty: what is known to fail does not keep a fallback waiting

import type { PickedHeader } from "../../scheduler/endpoint-picker.ts";
import {
  CHOICE_CANDIDATES_MAX,
  type PoolCandidate,
  type PoolChoice,
  type PoolChoiceRequest,
} from "../../scheduler/pools/contracts.ts";
import type { ModelRoute } from "../model-routes.ts";
import type { IsolatePools, PoolDirectory } from "./isolate-pools.ts";

export interface ChosenPools {
  /** The best first, at most `retryPoolsMax`. None, where all are drained or filters leave them out. */
  readonly routes: readonly ModelRoute[];
  /** What was chosen among, at most CHOICE_CANDIDATES_MAX; empty where there was nothing to choose. */
  readonly candidates: readonly PoolCandidate[];
  /** For the client's answer: values are parallel to `routes`. */
  readonly responseHeaders: readonly PickedHeader[];
  /** A pool is given the request: until its summary shows that, it counts here. Again for the same: nothing. */
  dispatched(pool: string): void;
}

/** Where there is nothing to choose, which costs nothing. */
export function onlyPool(route: ModelRoute): ChosenPools {
  return {
    routes: [route],
    candidates: [],
    responseHeaders: [],
    dispatched: () => undefined,
  };
}

export interface Choice {
  readonly pools: Pick<IsolatePools, "choose" | "dispatched">;
  readonly directory: PoolDirectory;
  /** Fallbacks last; see model-routes.ts. */
  readonly routes: readonly ModelRoute[];
  readonly request: PoolChoiceRequest;
  /** Decides every draw. */
  readonly seed: number;
}

/** Chooses. */
export function orderPools(choice: Choice): ChosenPools {
  const { directory, pools, request, routes } = choice;
  const made = choose(choice, routes);
  const order = made.order.slice(0, directory.routing.retryPoolsMax);
  const { candidates } = made;
  const given = new Set<string>();
  return {
    routes: order.map((name) => routes.find(({ pool }) => pool.config.name === name)!),
    candidates,
    responseHeaders: made.responseHeaders ?? [],
    dispatched(name) {
      if (given.has(name)) return;
      given.add(name);
      const candidate = candidates.find(({ pool }) => pool === name);
      pools.dispatched(name, candidate?.uncachedTokens ?? request.promptTokens, Date.now());
    },
  };
}

function choose(choice: Choice, routes: readonly ModelRoute[]): PoolChoice {
  const firstFallback = routes.findIndex(({ isFallback }) => isFallback);
  if (firstFallback === -1) return chooseAmong(choice, routes);
  const own = chooseAmong(choice, routes.slice(0, firstFallback));
  const others = chooseAmong(choice, routes.slice(firstFallback));
  const unusable = own.order.filter((name) => isUnusable(own, name));
  const usable = own.order.filter((name) => !unusable.includes(name));
  const candidates = [...own.candidates, ...others.candidates].slice(0, CHOICE_CANDIDATES_MAX);
  // Headers are for a choice that was one; a fallback sets none.
  return { order: [...usable, ...others.order, ...unusable], candidates };
}

function chooseAmong(
  { pools, directory, request, seed }: Choice,
  routes: readonly ModelRoute[],
): PoolChoice {
  const names = routes.map(({ pool }) => pool.config.name);
  return pools.choose(directory, request, names, { nowMs: Date.now(), seed });
}

function isUnusable({ candidates }: PoolChoice, name: string): boolean {
  const state = candidates.find(({ pool }) => pool === name)?.state;
  return state === "open" || state === "empty";
}
