// What open tickets charge to endpoints, and what their ends teach of endpoints' speed.

import type { EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { computesPrompt, speedLesson, transferLesson, uncachedTokens } from "./speed-lesson.ts";
import { NO_SLOT, type TicketEnd, type TicketState } from "./ticket.ts";

/** Where the load of open tickets is accounted, and what they teach. An EndpointTable. */
export type EndpointLoad = Pick<
  EndpointTable,
  | "dispatched"
  | "dispatchedBefore"
  | "promptAdded"
  | "released"
  | "takenBack"
  | "completed"
  | "handedOver"
>;

export class TicketLoad {
  readonly #clock: Clock;
  readonly #load: EndpointLoad;

  constructor(clock: Clock, load: EndpointLoad) {
    this.#clock = clock;
    this.#load = load;
  }

  /** Charges the ticket's endpoint, as of now. */
  dispatch(ticket: TicketState, isPromptNew = true): void {
    const { slot, reservedTokens, promptTokens } = ticket;
    if (slot === NO_SLOT) return;
    const isComputed = isPromptNew && computesPrompt(ticket);
    const prompt = { promptTokens, uncachedTokens: isComputed ? uncachedTokens(ticket) : 0 };
    ticket.dispatched = this.#load.dispatched(slot, reservedTokens, this.#clock(), prompt);
  }

  /** Charges it for a request that was sent `agoMs` before it is told of. */
  dispatchBefore(ticket: TicketState, agoMs: number): void {
    const { slot, reservedTokens, promptTokens } = ticket;
    if (slot === NO_SLOT) return;
    const isComputed = computesPrompt(ticket);
    const prompt = { promptTokens, uncachedTokens: isComputed ? uncachedTokens(ticket) : 0 };
    const atMs = this.#clock() - agoMs;
    ticket.dispatched = this.#load.dispatchedBefore(slot, reservedTokens, atMs, prompt);
  }

  /** Moves the load to another endpoint, or off all of them. */
  move(ticket: TicketState, slot: number): void {
    if (ticket.slot === slot) return;
    if (ticket.slot !== NO_SLOT) {
      const isUnread = slot !== NO_SLOT || ticket.isVoid;
      const nowMs = this.#clock();
      this.#load.released(ticket.slot, ticket.reservedTokens, ticket.dispatched?.atMs ?? nowMs);
      if (isUnread && computesPrompt(ticket))
        this.#load.takenBack(ticket.slot, uncachedTokens(ticket), nowMs);
    }
    ticket.slot = slot;
    this.dispatch(ticket);
  }

  /** The ticket's endpoint is to compute the prompt after all. */
  addPrompt(ticket: TicketState): void {
    const { slot, promptTokens, releasedBy } = ticket;
    if (releasedBy !== null || slot === NO_SLOT) return;
    const prompt = { promptTokens, uncachedTokens: uncachedTokens(ticket) };
    this.#load.promptAdded(slot, prompt, this.#clock());
  }

  /** An end that was reported, before the load leaves. */
  learn(ticket: TicketState, end: TicketEnd): void {
    const lesson = speedLesson(ticket, end);
    if (lesson !== undefined) this.#load.completed(end.slot, lesson);
    const handOver = transferLesson(ticket, end);
    if (handOver !== undefined) this.#load.handedOver(end.slot, handOver);
  }
}
