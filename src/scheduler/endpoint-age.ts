import type { PickContext } from "./plugin.ts";

/** How long an endpoint has been there, in ms: since it came, its engine started anew, or its ejection ended. The one place for this rule. */
export function endpointAgeMs(
  { endpoints, nowMs }: Pick<PickContext, "endpoints" | "nowMs">,
  slot: number,
): number {
  const { cameAtMs, ejectedUntilMs } = endpoints;
  // Of one that is ejected still, others judge.
  return nowMs - Math.max(cameAtMs[slot]!, Math.min(nowMs, ejectedUntilMs[slot]!));
}
