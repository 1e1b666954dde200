// What relays' reports say of tickets, as the ledger takes it.

import type { TicketClosed, TicketOpened } from "../../agents/protocol/messages.ts";
import type { DecisionResult } from "../../scheduler/decisions/record.ts";
import type { WorkerEnd } from "../contract.ts";
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
    failedCount: report.failed.length,
    isDecodeOnly: report.stages?.isDecodeOnly ?? false,
  } satisfies TicketEnd;
}

/** The same in the Worker's words, of what no relay has carried. */
export function workerEnd(told: WorkerEnd, slot: number) {
  const { status, ttftMs, durationMs } = told;
  // Who refuses has computed nothing.
  const usage = told.usage ?? (status >= 400 ? NOTHING : undefined);
  return {
    slot,
    isPromptCached: ttftMs !== null && status < 300,
    ttftMs,
    durationMs,
    promptTokens: usage?.promptTokens ?? null,
    cachedTokens: usage?.cachedTokens ?? null,
    completionTokens: usage?.completionTokens ?? null,
  } satisfies TicketEnd;
}

/** What a decision's record shows of it. */
export function workerResult(
  { outcome }: WorkerEnd,
  { ttftMs, promptTokens, cachedTokens, completionTokens }: TicketEnd,
  endpoint: string,
): DecisionResult {
  const usage = { promptTokens, cachedTokens, completionTokens };
  return { endpoint, outcome, ttftMs, ...usage, predictedTokens: null };
}

const NOTHING = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };

/** Nothing where prefill did not run apart, or the relay is of before that. */
export function prefillResultOf({ stages }: TicketClosed): Pick<DecisionResult, "prefill"> {
  if (stages === undefined) return {};
  const { prefill: endpoint, outcome, prefillMs, failed, isDecodeOnly, isStranded } = stages;
  const failedCount = failed.length;
  return { prefill: { endpoint, outcome, prefillMs, failedCount, isDecodeOnly, isStranded } };
}
