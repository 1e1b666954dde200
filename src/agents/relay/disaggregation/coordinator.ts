// Carries out a request whose prefill is to run at another endpoint than its decode. Whatever fails on the
// way to the first byte, the request is served while there is a decoder that can: a split is a way to be
// faster, never a reason to refuse.
//
// llm-d's sidecar returns a prefiller's failure to the client, uses parameters again that may have been
// pulled, and lets the leg at the other engine wait when one fails. See docs/decisions/037.

import { splitAtOnce } from "./concurrent.ts";
import { splitInOrder } from "./sequential.ts";
import type { Split, SplitContext, SplitRequest } from "./split-request.ts";
import { SplitState } from "./split-state.ts";

/** Splits a request, as far as that is possible. Never rejects. */
export function coordinate(context: SplitContext, request: SplitRequest): Promise<Split> {
  const state = new SplitState(context, request);
  const order = state.connectorOf(request.destinations[0]!)?.order;
  return order === "concurrent" ? splitAtOnce(state) : splitInOrder(state);
}

/** Whether there is anything to do besides walking the destinations. */
export function isSplit({ destinations, stages }: Pick<SplitRequest, "destinations" | "stages">) {
  const { prefillers, unknown } = stages;
  // An endpoint that was chosen for both is asked once.
  if (prefillers[0] !== undefined) return prefillers[0] !== destinations[0];
  return unknown.includes("prefill");
}
