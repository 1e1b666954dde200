import type { PickContext } from "./plugin.ts";

/** Whether `slot`'s load sample is young enough to be believed. The one place for this rule. */
export function isFresh(context: PickContext, slot: number): boolean {
  return context.nowMs - context.endpoints.sampledAtMs[slot]! <= context.staleAfterMs;
}
