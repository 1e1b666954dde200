// The parsers of this release, and which of them a pool uses.

import { PARSERS, type ParserClaims } from "../../scheduler/parsers.ts";
import { openaiParser } from "../openai/openai-parser.ts";
import type { Parser } from "./parser.ts";
import { ParserRegistry } from "./registry.ts";

/** Every parser there is code for. A pool may use fewer: see `parsersNamed`. */
export const BUILT_PARSERS = new ParserRegistry<Parser>([openaiParser]);

/** The paths of a client, which are also the engine's. Nothing else is ever forwarded. */
export const INFERENCE_PATHS: readonly string[] = BUILT_PARSERS.parsers.flatMap(({ claims }) =>
  claims.map((claim) => `/v1/${claim}`),
);

/** A pool's parsers by their types, built or not: who claims a path depends on all of them. */
export function parsersNamed(types: readonly string[]): ParserRegistry<ParserClaims> {
  return new ParserRegistry(
    types.flatMap((type) => PARSERS.find((each) => each.type === type) ?? []),
  );
}
