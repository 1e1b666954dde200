// What relays' reports say of tickets, as the ledger takes it.

import type { TicketClosed, TicketOpened } from "../../agents/protocol/messages.ts";
import { OTHER } from "../pool-storage.ts";
import type { TicketEnd, TicketSubject } from "./ticket.ts";

/** Undefined from a relay of version 1, which does not tell. */
export function subjectOf({
  requestId,
  tenant,
  model,
}: TicketOpened | TicketClosed): TicketSubject | undefined {
  if (requestId === undefined || tenant === undefined || model === undefined) return undefined;
  // A model the relay could not read counts with what has no usage of its own.
  return { requestId, tenant, model: model === "" ? OTHER : model };
}

/** `slot` is the reported endpoint's. */
export function endOf(report: TicketClosed, slot: number) {
  return {
    slot,
    // Whatever came after, an endpoint that sent a byte of success has read the prompt.
    isPromptCached: report.ttftMs !== null && report.status !== null && report.status < 300,
    ttftMs: report.ttftMs,
    durationMs: report.durationMs,
    promptTokens: report.promptTokens,
    cachedTokens: report.cachedTokens,
    completionTokens: report.completionTokens,
  } satisfies TicketEnd;
}
