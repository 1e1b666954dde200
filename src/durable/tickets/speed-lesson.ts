// What a ticket's end teaches of its endpoint's speed.

import type { SpeedObservation } from "../../scheduler/model/engine-speeds.ts";
import type { TicketEnd, TicketState } from "./ticket.ts";

/** Of the prompt, what the ticket's endpoint was taken to have to compute. */
export function uncachedTokens({
  reservedTokens,
  outputTokens,
}: Pick<TicketState, "reservedTokens" | "outputTokens">): number {
  return Math.max(0, reservedTokens - outputTokens);
}

/** Undefined if the ticket's endpoint is not the one that read the prompt. */
export function speedLesson(ticket: TicketState, end: TicketEnd): SpeedObservation | undefined {
  const { slot, dispatched } = ticket;
  if (!end.isPromptCached || slot !== end.slot || dispatched === undefined) return undefined;
  const { ttftMs, durationMs, promptTokens, cachedTokens } = end;
  // The engine's count where it tells, else the router's estimate.
  const isCounted = promptTokens !== null && cachedTokens !== null;
  const own = isCounted ? Math.max(0, promptTokens - cachedTokens) : uncachedTokens(ticket);
  const { aheadTokens, isHeld } = dispatched;
  const decodeMs = ttftMs === null || durationMs === undefined ? null : durationMs - ttftMs;
  return { ttftMs, decodeMs, workTokens: aheadTokens + own, isHeld };
}
