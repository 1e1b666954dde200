// Two tickets of one request: where an isolate sent it, and where the object would rather have it. One is paid for.
//
//   first    called off: unpaid   ─┬─ closed with tokens before the second ──► paid, and the second is not
//   second   granted in its place ─┼─ given back, nobody used it ────────────► the first is as any other
//                                  └─ with a relay all the same ─────────────► as it was, if the first is not paid for yet
//
// The first may be answered before its relay hears that it was called off, and its Worker may use that answer, or the
// second's: whichever it was, the tenant has one answer, and pays for one.

import { isUnheardOf, type TicketEnd, type TicketState } from "./ticket.ts";

/** `second` has been granted in the place of `first`. */
export function callOff(first: TicketState, second: TicketState): void {
  first.isUnpaid = true;
  first.calledOffFor = second;
  second.insteadOf = first;
}

/** Nobody uses the second. What the first has come to already stands. */
export function stand(second: TicketState, isSettled: (ticket: TicketState) => boolean): void {
  const { insteadOf: first } = second;
  if (first?.calledOffFor !== second || isSettled(first)) return;
  first.calledOffFor = null;
  first.isUnpaid = false;
}

/** A relay has the second: it is used. `isSettled` as below. */
export function carried(second: TicketState, isSettled: (ticket: TicketState) => boolean): void {
  const { insteadOf: first } = second;
  if (first === null || first.calledOffFor === second) return;
  if (!isSettled(first)) callOff(first, second);
  else if (!first.isUnpaid && !first.isVoid) second.isUnpaid = true;
}

/** The first has ended. `isSettled`: whether a ticket's usage is known already. */
export function endedFirst(
  first: TicketState,
  { completionTokens, result }: TicketEnd,
  isSettled: (ticket: TicketState) => boolean,
): void {
  const { calledOffFor: second, releasedBy } = first;
  // Who was cut off may have told tokens, too.
  const isAnswered = result?.outcome !== "cancelled" && (completionTokens ?? 0) > 0;
  const isGivenBack = releasedBy !== null && releasedBy !== "cancelled";
  if (second === null || !isAnswered || isGivenBack || isSettled(second)) return;
  first.isUnpaid = false;
  second.isUnpaid = true;
}

/** Of a ticket whose Worker has cut it off: a relay may still have it, and say how it ended, unless it is closed in favour of another. */
export function mayBeCarried(ticket: TicketState): boolean {
  return isUnheardOf(ticket) && ticket.calledOffFor === null;
}
