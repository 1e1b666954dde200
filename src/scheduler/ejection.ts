import type { PickContext } from "./plugin.ts";

/** Whether a relay's word keeps `slot` out of decisions now. The one place for this rule. */
export function isEjected(
  { endpoints, nowMs }: Pick<PickContext, "endpoints" | "nowMs">,
  slot: number,
): boolean {
  return nowMs < endpoints.ejectedUntilMs[slot]!;
}
