import type { EndpointColumns } from "./model/endpoint-columns.ts";
import type { PickContext } from "./plugin.ts";

type FreshnessContext = Pick<PickContext, "endpoints" | "nowMs" | "staleAfterMs">;

/**
 * Whether nobody samples `slot`, by design: an upstream that publishes no load. Then what was sent there
 * is all that is known, and as fresh as can be. Also of a recorded decision, whose JSON has no infinity.
 */
export function isUnsampled(
  { endpoints }: { readonly endpoints: Pick<EndpointColumns, "sampledAtMs"> },
  slot: number,
): boolean {
  return endpoints.sampledAtMs[slot]! >= Number.MAX_VALUE;
}

/** Whether `slot`'s load sample is young enough to be believed. The one place for this rule. */
export function isFresh(context: FreshnessContext, slot: number): boolean {
  return context.nowMs - context.endpoints.sampledAtMs[slot]! <= context.staleAfterMs;
}

/**
 * Whether `slot` told its load once and has stopped to. For facts that come beside the load, of
 * endpoints that may have no queue to tell: an endpoint that is never fresh is not silent.
 */
export function isSilent(context: FreshnessContext, slot: number): boolean {
  return !isFresh(context, slot) && context.endpoints.sampledAtMs[slot]! !== -Infinity;
}

/** `slot`'s number among `values`, a column of such facts; NaN for one that its endpoint no longer vouches for. */
export function toldValue(
  context: FreshnessContext,
  values: Float64Array | undefined,
  slot: number,
): number {
  return isSilent(context, slot) ? Number.NaN : (values?.[slot] ?? Number.NaN);
}
