import type { PickContext } from "./plugin.ts";

/** Whether `slot`'s load sample is young enough to be believed. The one place for this rule. */
export function isFresh(
  context: Pick<PickContext, "endpoints" | "nowMs" | "staleAfterMs">,
  slot: number,
): boolean {
  return context.nowMs - context.endpoints.sampledAtMs[slot]! <= context.staleAfterMs;
}
