// What a pool's configuration asks of the Worker, worked out once per version and isolate.

import type { PoolConfig } from "../config/deployment.ts";
import type { PoolResources } from "../durable/directory/contract.ts";
import { effectiveScheduler, readableScheduler } from "../config/scheduling.ts";
import { parserTypesOf, requestHeadersOf } from "../scheduler/config/resolve.ts";
import { isFlowControlOn } from "../scheduler/flow-control/of-config.ts";
import type { InferenceObjective } from "../scheduler/flow-control/objectives.ts";
import type { ParserClaims } from "../scheduler/parsers.ts";
import { ModelRewrites } from "../scheduler/rewrite/model-rewrites.ts";
import { METRIC } from "../telemetry/names.ts";
import { metrics } from "./metrics.ts";
import { admittedResources } from "./pools/cluster-resources.ts";
import { parsersNamed } from "./parsers/built-parsers.ts";
import type { ParserRegistry } from "./parsers/registry.ts";

export interface PoolNeeds {
  readonly parsers: ParserRegistry<ParserClaims>;
  /** Headers of clients that its plugins read, in lower case. */
  readonly requestHeaders: readonly string[];
  readonly rewrites: ModelRewrites;
  /** Requests that find it full wait. */
  readonly hasQueue: boolean;
  /** By name. */
  readonly objectives: ReadonlyMap<string, InferenceObjective>;
}

/**
 * A directory of another release may hold scheduling that this one cannot read. Then the default stands
 * in for it, as in the pool's object, and a shadow is left out: the other pools' requests go on. `told`: by
 * the pool's cluster.
 */
export function poolNeeds(pool: PoolConfig, told?: PoolResources): PoolNeeds {
  const { scheduler, shadow, modelRewrites = [], objectives = [] } = pool;
  const added = told === undefined ? undefined : admittedResources(pool, told);
  const readable = readableScheduler(scheduler);
  if (readable === undefined) metrics.inc(METRIC.configFallbacksTotal, {});
  const config = readable ?? effectiveScheduler({});
  const shadowConfig = shadow === undefined ? undefined : readableScheduler(shadow);
  const ofShadow = shadowConfig === undefined ? [] : requestHeadersOf(shadowConfig);
  return {
    parsers: parsersNamed(parserTypesOf(config)),
    requestHeaders: [...new Set([...requestHeadersOf(config), ...ofShadow])],
    rewrites: new ModelRewrites(modelRewrites, added?.rewrites),
    hasQueue: isFlowControlOn(config),
    objectives: new Map(
      [...(added?.objectives ?? []), ...objectives].map((objective) => [objective.name, objective]),
    ),
  };
}
