// How a request becomes a leg: what changes of it, and when it ends.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { EngineError } from "../errors.ts";
import type { GenerationRequest } from "../request-schema.ts";
import type { Leg } from "./legs.ts";

/** llm-d-inference-sim's: as if nothing were cached. */
const THRESHOLD_HEADER = "x-cache-threshold-finish-reason";
/** Above what any cache can reach. */
const THRESHOLD_UNREACHABLE = 2;

/** Lets a leg begin, and end with the answer. Gives what the request is refused with. */
export async function begun(
  leg: Leg | undefined,
  response: ServerResponse,
): Promise<EngineError | undefined> {
  if (leg === undefined) return undefined;
  const left = new AbortController();
  response.on("close", () => {
    left.abort();
    leg.closed();
  });
  return leg.begin(left.signal);
}

export function requestOf(
  request: GenerationRequest,
  { headers }: IncomingMessage,
  leg: Leg | undefined,
): GenerationRequest {
  const isForced = headers[THRESHOLD_HEADER] === "true";
  return {
    ...request,
    ...(leg?.isPrefillOnly === true ? { limit: 1, isEosIgnored: false } : {}),
    ...(isForced ? { cacheHitThreshold: THRESHOLD_UNREACHABLE } : {}),
  };
}
