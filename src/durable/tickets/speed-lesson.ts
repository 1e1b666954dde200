// What a ticket's end teaches of its endpoint's speed.

import type { HandOver, SpeedObservation } from "../../scheduler/model/engine-speeds.ts";
import type { TicketEnd, TicketState } from "./ticket.ts";

/** Of the prompt, what was taken not to be cached at the ticket's endpoint. */
export function uncachedTokens({
  reservedTokens,
  outputTokens,
}: Pick<TicketState, "reservedTokens" | "outputTokens">): number {
  return Math.max(0, reservedTokens - outputTokens);
}

/** Whether the ticket's endpoint computes the prompt, and no other one. */
export function computesPrompt({ prefill }: Pick<TicketState, "prefill">): boolean {
  return prefill === undefined || prefill.isFallenBack;
}

/** Undefined if the ticket's endpoint is not the one that read the prompt. */
export function speedLesson(ticket: TicketState, end: TicketEnd): SpeedObservation | undefined {
  const { slot, dispatched } = ticket;
  if (!end.isPromptCached || slot !== end.slot || dispatched === undefined) return undefined;
  const { durationMs, promptTokens, cachedTokens } = end;
  // With another endpoint's prefill in it, it says nothing of this one's.
  const ttftMs = ticket.prefill === undefined ? end.ttftMs : null;
  // The engine's count where it tells, else the router's estimate.
  const isCounted = promptTokens !== null && cachedTokens !== null;
  const own = isCounted ? Math.max(0, promptTokens - cachedTokens) : uncachedTokens(ticket);
  const { aheadTokens, heardTokens, isHeld } = dispatched;
  const decodeMs = end.ttftMs === null || durationMs === undefined ? null : durationMs - end.ttftMs;
  return { ttftMs, decodeMs, workTokens: aheadTokens + own, heardTokens, isHeld };
}

/** How long blocks took to get to the ticket's endpoint. Undefined if none did, or something else took time. */
export function transferLesson(ticket: TicketState, end: TicketEnd): HandOver | undefined {
  const { slot, dispatched, prefill } = ticket;
  if (!end.isPromptCached || slot !== end.slot || end.ttftMs === null) return undefined;
  if (prefill?.tookMs === undefined || dispatched?.isHeld !== false) return undefined;
  // A recomputation is in it, or what others took to fail.
  if (end.isDecodeOnly === true || (end.failedCount ?? 0) > 0) return undefined;
  return { transferMs: end.ttftMs - prefill.tookMs, tokens: uncachedTokens(ticket) };
}
