// Prompts that another endpoint computes than the one which answers: what they load there, what they teach,
// and what is believed of its cache meanwhile.
//
//   opened ──► carried ──prefilled──► ok: its speed is learned, its cache has the prompt
//                 │          └──────► failed: nobody there has it. Where the relay asks nobody else the
//                 │                   decode endpoint computes the prompt
//                 └── the ticket is released, however ──► given back
//
// Only the first that may be asked carries the load: the second is asked where the first fails, which the pool
// then avoids, and its prefill is short.

import type { TicketPrefilled } from "../../agents/protocol/messages.ts";
import type { Dispatched, EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { PrefixClaim, PrefixClaims } from "../prefix/claims.ts";

/** A prefill that runs apart, of a granted pick. */
export interface PrefillSpec {
  /** The first that is asked. */
  readonly slot: number;
  /** How many may be asked, one after the other. */
  readonly tries: number;
  /** Of the prompt, what is not cached there. */
  readonly uncachedTokens: number;
}

/** A ticket's prefill. Only Prefills changes it. */
export interface PrefillState {
  readonly promptTokens: number;
  readonly uncachedTokens: number;
  /** Who was picked for it. */
  readonly pickedSlot: number;
  /** Who carries it; NO_ENDPOINT once nobody does. */
  slot: number;
  triesLeft: number;
  readonly dispatched: Dispatched;
  /** The speculative entry of the prefix tree. */
  claim: PrefixClaim | null;
  /** How long it took where it succeeded at the first try. */
  tookMs: number | undefined;
  /** The decode endpoint computes the prompt after all. */
  isFallenBack: boolean;
}

/** How a prefill at one endpoint ended. */
export interface PrefillEnd extends Pick<
  TicketPrefilled,
  "outcome" | "durationMs" | "promptTokens" | "cachedTokens" | "isLast"
> {
  readonly slot: number;
}

/** The part of a ticket that its prefill is about. */
export interface PrefillTicket {
  readonly prefill: PrefillState | undefined;
  readonly keys: Uint32Array | null;
  readonly isVoid: boolean;
}

export interface PrefillsOptions {
  readonly clock: Clock;
  readonly load: Pick<EndpointTable, "dispatched" | "released" | "takenBack" | "completed">;
  readonly claims: PrefixClaims;
}

const NO_ENDPOINT = -1;

/** Outcomes by which the endpoint has computed the prompt. */
const COMPUTED: ReadonlySet<TicketPrefilled["outcome"]> = new Set(["ok", "no-parameters"]);
/** Those by which it has not even begun. */
const NOT_BEGUN: ReadonlySet<TicketPrefilled["outcome"]> = new Set([
  "refused",
  "overloaded",
  "unavailable",
  "unreachable",
  "off-list",
  "unsupported",
  "busy",
  "spared",
]);
/**
 * Those after which nobody is asked to compute the prompt. `spared`: its decode endpoint has computed what it
 * lacked before it answered.
 */
const FINAL: ReadonlySet<TicketPrefilled["outcome"]> = new Set([
  "ok",
  "refused",
  "cancelled",
  "spared",
]);
/** Those after which no relay asks another prefill endpoint. */
const NEVER_RETRIED: ReadonlySet<TicketPrefilled["outcome"]> = new Set([
  "no-parameters",
  "engine-error",
  "busy",
]);

/** Of one ledger. */
export class Prefills {
  readonly #options: PrefillsOptions;

  constructor(options: PrefillsOptions) {
    this.#options = options;
  }

  /** Charges the endpoint. */
  begin({ slot, tries, uncachedTokens }: PrefillSpec, promptTokens: number): PrefillState {
    const { clock, load } = this.#options;
    const prompt = { promptTokens, uncachedTokens };
    const dispatched = load.dispatched(slot, uncachedTokens, clock(), prompt);
    const state = { slot, triesLeft: tries, dispatched, claim: null, tookMs: undefined };
    return { ...state, ...prompt, pickedSlot: slot, isFallenBack: false };
  }

  /** The prompt is on its way. */
  teach({ prefill, keys }: PrefillTicket): void {
    if (prefill === undefined || keys === null || prefill.slot === NO_ENDPOINT) return;
    prefill.claim ??= this.#options.claims.claim(keys, prefill.slot);
  }

  /** An endpoint has done with it. True: from now on the decode endpoint has to compute the prompt. */
  ended(ticket: PrefillTicket, end: PrefillEnd): boolean {
    const { prefill, keys } = ticket;
    if (prefill === undefined) return false;
    const isComputed = COMPUTED.has(end.outcome);
    const isFirst = prefill.slot === end.slot;
    if (isComputed && isFirst) this.#learnSpeed(prefill, end);
    this.#giveBack(prefill, isFirst ? NOT_BEGUN.has(end.outcome) : true);
    this.#correct(prefill, keys, isComputed ? end.slot : NO_ENDPOINT);
    prefill.triesLeft -= 1;
    if (end.outcome === "ok" && isFirst) prefill.tookMs = end.durationMs;
    if (prefill.isFallenBack || FINAL.has(end.outcome)) return false;
    const isLast = end.isLast ?? prefill.triesLeft <= 0;
    prefill.isFallenBack = isLast || NEVER_RETRIED.has(end.outcome);
    return prefill.isFallenBack;
  }

  /** The ticket's load leaves all endpoints. */
  released({ prefill, isVoid }: PrefillTicket): void {
    if (prefill === undefined) return;
    this.#giveBack(prefill, isVoid);
    // Nobody was sent the prompt.
    if (isVoid) this.#correct(prefill, null, NO_ENDPOINT);
  }

  /** Nothing more will be known of the ticket. */
  forget({ prefill }: PrefillTicket): void {
    if (prefill === undefined || prefill.claim === null) return;
    this.#options.claims.drop(prefill.claim);
    prefill.claim = null;
  }

  /** It took its load along, and the claims on it. */
  endpointRemoved({ prefill }: PrefillTicket, slot: number): void {
    if (prefill === undefined) return;
    if (prefill.slot === slot) prefill.slot = NO_ENDPOINT;
    if (prefill.claim?.slot === slot) prefill.claim = null;
  }

  #giveBack(prefill: PrefillState, isUnread: boolean): void {
    const { slot, uncachedTokens, dispatched } = prefill;
    if (slot === NO_ENDPOINT) return;
    const { clock, load } = this.#options;
    prefill.slot = NO_ENDPOINT;
    load.released(slot, uncachedTokens, dispatched.atMs);
    if (isUnread) load.takenBack(slot, uncachedTokens, clock());
  }

  #learnSpeed({ slot, dispatched, uncachedTokens }: PrefillState, end: PrefillEnd): void {
    if (slot === NO_ENDPOINT) return;
    const { durationMs, promptTokens, cachedTokens } = end;
    // The engine's count where it tells, else the router's estimate.
    const isCounted = promptTokens !== null && cachedTokens !== null;
    const own = isCounted ? Math.max(0, promptTokens - cachedTokens) : uncachedTokens;
    const { aheadTokens, heardTokens, isHeld } = dispatched;
    const observation = { ttftMs: durationMs, decodeMs: null, heardTokens, isHeld };
    this.#options.load.completed(slot, { ...observation, workTokens: aheadTokens + own });
  }

  /** `slot` has the prompt; nobody, for NO_ENDPOINT. */
  #correct(prefill: PrefillState, keys: Uint32Array | null, slot: number): void {
    const { claims } = this.#options;
    const { claim } = prefill;
    prefill.claim = null;
    if (claim !== null) {
      if (claim.slot === slot) claims.drop(claim);
      else claims.takeBack(claim);
    }
    if (slot !== NO_ENDPOINT && keys !== null) claims.confirm(keys, slot);
  }
}
