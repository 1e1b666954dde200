// What a pool's configuration asks of the Worker, worked out once per version and isolate.

import type { PoolConfig } from "../config/deployment.ts";
import { requestHeadersOf, specsOfKind } from "../scheduler/config/resolve.ts";
import { DEFAULT_PARSER_TYPES, type ParserClaims } from "../scheduler/parsers.ts";
import { ModelRewrites } from "../scheduler/rewrite/model-rewrites.ts";
import { parsersNamed } from "./parsers/built-parsers.ts";
import type { ParserRegistry } from "./parsers/registry.ts";

export interface PoolNeeds {
  readonly parsers: ParserRegistry<ParserClaims>;
  /** Headers of clients that its plugins read, in lower case. */
  readonly requestHeaders: readonly string[];
  readonly rewrites: ModelRewrites;
}

export function poolNeeds({ scheduler, modelRewrites }: PoolConfig): PoolNeeds {
  const named = specsOfKind(scheduler, "parser").map(({ type }) => type);
  return {
    parsers: parsersNamed(named.length === 0 ? DEFAULT_PARSER_TYPES : named),
    requestHeaders: requestHeadersOf(scheduler),
    rewrites: new ModelRewrites(modelRewrites ?? []),
  };
}
