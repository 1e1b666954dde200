// What a ticket teaches of caches: its prompt's keys, from its opening until nothing more will be known of it.
//
// Prefixes are learned when the relay hands the prompt to an endpoint (`opened`), as llm-d does at
// dispatch, so that the next request of a burst already finds it. That entry is speculative: if
// `closed` says that another endpoint answered, or that none did, the blocks that only this ticket
// vouches for are taken back, and the endpoint that did answer learns them. See PrefixClaims.

import { CONTENT_KEYS_MAX } from "../../scheduler/kv/content-keys.ts";
import type { PrefixClaims } from "../prefix/claims.ts";
import { type TicketEnd, type TicketState, NO_SLOT } from "./ticket.ts";

export class Lessons {
  readonly #claims: PrefixClaims;
  readonly #keyBytesMax: number;
  #keyBytes = 0;

  constructor(claims: PrefixClaims, keyBytesMax: number) {
    this.#claims = claims;
    this.#keyBytesMax = keyBytesMax;
  }

  /** Of all tickets. */
  get keyBytes(): number {
    return this.#keyBytes;
  }

  /** What a new ticket keeps of its keys; null where there is no room, and it teaches nothing. */
  keep(keys: Uint32Array): Uint32Array | null {
    if (this.#keyBytes + keys.byteLength > this.#keyBytesMax) return null;
    this.#keyBytes += keys.byteLength;
    // A copy: the request's own buffer may be part of a larger message.
    return keys.slice();
  }

  /** Gives keys to a ticket that was opened with none. False where there is no room. */
  replace(ticket: TicketState, keys: Uint32Array): boolean {
    if (this.#keyBytes + keys.byteLength > this.#keyBytesMax) return false;
    if (ticket.claim !== null) this.#claims.drop(ticket.claim);
    ticket.claim = null;
    ticket.keys = keys.slice(0, 2 * CONTENT_KEYS_MAX);
    this.#keyBytes += ticket.keys.byteLength;
    return true;
  }

  /** The endpoint is given the prompt. */
  teach(ticket: TicketState, slot: number): void {
    if (ticket.keys === null || slot === NO_SLOT || ticket.claim?.slot === slot) return;
    if (ticket.claim !== null) this.#claims.takeBack(ticket.claim);
    ticket.claim = this.#claims.claim(ticket.keys, slot);
  }

  /** Its endpoint was not asked, or would not serve it. */
  unteach(ticket: TicketState): void {
    if (ticket.claim !== null) this.#claims.takeBack(ticket.claim);
    ticket.claim = null;
  }

  /** Replaces what was believed at `opened` by what `closed` says. */
  correct(ticket: TicketState, end: TicketEnd): void {
    const isHere = end.isPromptCached && end.slot !== NO_SLOT;
    if (ticket.claim !== null) {
      if (isHere && ticket.claim.slot === end.slot) this.#claims.drop(ticket.claim);
      else this.#claims.takeBack(ticket.claim);
      ticket.claim = null;
    }
    if (ticket.keys !== null) this.confirm(ticket.keys, end);
  }

  /** Of a request that has ended: its endpoint has the prompt, if it has read it. */
  confirm(keys: Uint32Array, end: TicketEnd): void {
    if (end.isPromptCached && end.slot !== NO_SLOT) this.#claims.confirm(keys, end.slot);
  }

  forget(ticket: TicketState): void {
    if (ticket.claim !== null) this.#claims.drop(ticket.claim);
    ticket.claim = null;
    this.#keyBytes -= ticket.keys?.byteLength ?? 0;
    ticket.keys = null;
  }
}
