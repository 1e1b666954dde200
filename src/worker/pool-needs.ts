// What a pool's configuration asks of the Worker, worked out once per version and isolate.

import type { PoolConfig } from "../config/deployment.ts";
import { effectiveScheduler } from "../config/scheduling.ts";
import { parserTypesOf, requestHeadersOf } from "../scheduler/config/resolve.ts";
import type { ParserClaims } from "../scheduler/parsers.ts";
import { ModelRewrites } from "../scheduler/rewrite/model-rewrites.ts";
import { parsersNamed } from "./parsers/built-parsers.ts";
import type { ParserRegistry } from "./parsers/registry.ts";

export interface PoolNeeds {
  readonly parsers: ParserRegistry<ParserClaims>;
  /** Headers of clients that its plugins read, in lower case. */
  readonly requestHeaders: readonly string[];
  readonly rewrites: ModelRewrites;
}

export function poolNeeds({ scheduler, shadow, modelRewrites }: PoolConfig): PoolNeeds {
  const config = effectiveScheduler(scheduler);
  const ofShadow = shadow === undefined ? [] : requestHeadersOf(effectiveScheduler(shadow));
  return {
    parsers: parsersNamed(parserTypesOf(config)),
    requestHeaders: [...new Set([...requestHeadersOf(config), ...ofShadow])],
    rewrites: new ModelRewrites(modelRewrites ?? []),
  };
}
