// What a pool's object knows of one ticket: a claim on an endpoint's capacity.

import type { TicketName } from "../../agents/protocol/ticket-name.ts";
import type { DecisionResult } from "../../scheduler/decisions/record.ts";
import type { TokenUsage } from "../../scheduler/flow-control/contracts.ts";
import type { Dispatched } from "../../scheduler/model/endpoint-table.ts";
import type { PickGrant } from "../contract.ts";
import type { CachePrediction } from "../kv/cache-prediction.ts";
import type { PrefixClaim } from "../prefix/claims.ts";
import type { PrefillSpec, PrefillState } from "./prefills.ts";

/** Not an endpoint: it left the pool, or was never in it. */
export const NO_SLOT = -1;

/** Holder of tickets that no handle guards: of an earlier life of the object, and of isolates. */
export const NO_HOLDER = 0;

/** How a ticket's load left. Closed set; a metric label. */
export type ReleasedBy =
  | "report"
  | "handle"
  | "cancelled"
  | "relay-unreachable"
  | "unmetered"
  | "hedge-lost"
  | "refused"
  | "relay-restarted"
  | "expired";

/** A granted pick. */
export interface TicketSpec {
  readonly requestId: string;
  readonly attempt: number;
  readonly tenant: string;
  readonly model: string;
  readonly priority: number;
  readonly keys: Uint32Array;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Charged to the endpoint while the ticket is open: prompt that is not cached there, and output. */
  readonly reservedTokens: number;
  /** The first endpoint, and the addresses of all, in order. */
  readonly slot: number;
  readonly endpoints: readonly string[];
  /** See PickGrant. */
  readonly stages?: readonly string[] | undefined;
  /** Where another endpoint computes the prompt. */
  readonly prefill?: PrefillSpec | undefined;
  /** For the client's answer; see PickGrant. */
  readonly responseHeaders?: PickGrant["responseHeaders"] | undefined;
  /** The handle that may release it; above 0. */
  readonly holder: number;
  /** No relay will take it: its Worker asks the endpoint itself. */
  readonly isWorkers?: boolean | undefined;
  /** What its first endpoint was believed to have cached, where that was known exactly. */
  readonly prediction?: CachePrediction | undefined;
}

export interface Ticket extends Readonly<Omit<TicketSpec, "keys" | "slot" | "holder" | "prefill">> {
  readonly id: string;
}

/** A ticket in the ledger, which alone changes it. */
export interface TicketState extends Ticket {
  keys: Uint32Array | null;
  endpoints: readonly string[];
  /** The endpoint that carries the load now. */
  slot: number;
  holder: number;
  /** An isolate has decided on it, and has told so. */
  isCommitted: boolean;
  isWithRelay: boolean;
  /** Who has it, as far as it was told. */
  relay: RelayLife | undefined;
  /** Given back before any relay was heard of it: nothing to settle, unless one is. */
  isVoid: boolean;
  /** Another attempt has answered its request: what it used is nobody's. */
  isUnpaid: boolean;
  /** Of the two tickets of one request: see called-off.ts. */
  calledOffFor: TicketState | null;
  insteadOf: TicketState | null;
  releasedBy: ReleasedBy | null;
  dueAtMs: number;
  /** What it found where it was sent last; undefined before that. */
  dispatched: Dispatched | undefined;
  /** Undefined where its endpoint computes the prompt. */
  prefill: PrefillState | undefined;
  /** The speculative entry, until the endpoint has answered or failed. */
  claim: PrefixClaim | null;
}

/** What a ticket begins with, besides what was granted. */
export type Begun = Pick<
  TicketState,
  "id" | "holder" | "isCommitted" | "keys" | "dueAtMs" | "prefill"
>;

/**
 * Member by member, in one order: each ticket then has the same shape, and is read several times a request. What
 * else `spec` has is left out.
 */
export function beginTicket(
  spec: Omit<TicketSpec, "holder" | "prefill">,
  begun: Begun,
): TicketState {
  return {
    id: begun.id,
    requestId: spec.requestId,
    attempt: spec.attempt,
    tenant: spec.tenant,
    model: spec.model,
    priority: spec.priority,
    promptTokens: spec.promptTokens,
    outputTokens: spec.outputTokens,
    reservedTokens: spec.reservedTokens,
    endpoints: spec.endpoints,
    stages: spec.stages,
    responseHeaders: spec.responseHeaders,
    isWorkers: spec.isWorkers,
    prediction: spec.prediction,
    keys: begun.keys,
    slot: spec.slot,
    holder: begun.holder,
    isCommitted: begun.isCommitted,
    isWithRelay: false,
    relay: undefined,
    isVoid: false,
    isUnpaid: false,
    calledOffFor: null,
    insteadOf: null,
    releasedBy: null,
    dueAtMs: begun.dueAtMs,
    dispatched: undefined,
    prefill: begun.prefill,
    claim: null,
  };
}

/** One that a relay reports, of a name that is told nothing else of. */
type ToldTicket = TicketName &
  TicketSubject & { readonly id: string; readonly attempt: number; readonly slot: number };

export function restoredTicket(told: ToldTicket): TicketState {
  // What it loads elsewhere, if anything, is in that engine's own numbers.
  const unknown = { holder: NO_HOLDER, isCommitted: false, dueAtMs: 0, prefill: undefined };
  const ticket = beginTicket(
    { ...told, endpoints: [], keys: NO_KEYS },
    { id: told.id, keys: null, ...unknown },
  );
  ticket.relay = told.relay;
  return ticket;
}

const NO_KEYS = new Uint32Array(0);

/** A relay may have it, and has not said so. */
export function isUnheardOf({ isWithRelay, isWorkers }: TicketState): boolean {
  return !isWithRelay && isWorkers !== true;
}

/** Of one whose load has left. */
export type ReleasedTicket = Readonly<
  Pick<TicketState, "requestId" | "attempt" | "isVoid" | "keys" | "endpoints" | "prefill">
>;

/** A relay from its start to its end. */
export interface RelayLife {
  /** Its name. */
  readonly agent: string;
  /** Random at each start. */
  readonly epoch: string;
}

/** Whose request a ticket is, as a relay reported it; with it, a ticket can be put back. */
export interface TicketSubject {
  /** The relay that says so. */
  readonly relay?: RelayLife | undefined;
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
}

/** The end of a ticket as a relay reported it. */
export interface TicketEnd {
  readonly slot: number;
  /** The endpoint has read the prompt: it answered, or began to. */
  readonly isPromptCached: boolean;
  readonly ttftMs: number | null;
  /** From the relay's receipt of the request to the end of the answer; undefined where nobody told. */
  readonly durationMs?: number;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
  /** Endpoints that failed before `slot`'s: their time is in `ttftMs`. 0 where nobody told. */
  readonly failedCount?: number;
  /** Prefill was to run apart, and the endpoint computed the prompt all the same. */
  readonly isDecodeOnly?: boolean;
  /** The same for the decision's record, which may come later. */
  readonly result?: DecisionResult;
}

/** Usage of one ticket, once. */
export interface Settlement {
  readonly ticket: string;
  /** A report may still come that a later life of the object would take for news. */
  readonly mayBeReported: boolean;
  readonly requestId: string;
  readonly attempt: number;
  readonly tenant: string;
  readonly model: string;
  readonly priority: number;
  readonly isEstimated: boolean;
  /** See TicketState. */
  readonly isUnpaid: boolean;
  readonly ttftMs: number | null;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** Room for one ticket more, and what was settled by estimate to make it. */
export interface TicketRoom {
  readonly hasRoom: boolean;
  readonly settlement: Settlement | undefined;
}

type Settled = TicketSubject & {
  readonly id: string;
  attempt: number;
  priority: number;
  isUnpaid?: boolean;
};

/** What a relay reported of a ticket's end, as usage. */
export function settlementOf(ticket: Settled, end: TicketEnd, mayBeReported: boolean): Settlement {
  return {
    ...subjectOf(ticket),
    mayBeReported,
    isEstimated: false,
    ttftMs: end.ttftMs,
    promptTokens: end.promptTokens ?? 0,
    cachedTokens: end.cachedTokens ?? 0,
    completionTokens: end.completionTokens ?? 0,
  };
}

/** What a ticket counts as that nobody reported the end of. */
export function estimateOf(ticket: TicketState): Settlement {
  return {
    ...subjectOf(ticket),
    // What no relay was given, none can report.
    mayBeReported: ticket.releasedBy !== "unmetered" && ticket.isWorkers !== true,
    isEstimated: true,
    ttftMs: null,
    promptTokens: ticket.promptTokens,
    cachedTokens: 0,
    completionTokens: ticket.outputTokens,
  };
}

function subjectOf(settled: Settled) {
  const { id: ticket, requestId, attempt, tenant, model, priority, isUnpaid = false } = settled;
  return { ticket, requestId, attempt, tenant, model, priority, isUnpaid };
}

/** Of what was never sent. */
export const NO_USAGE: TokenUsage = { promptTokens: 0, uncachedTokens: 0, outputTokens: 0 };

/** As flow control counts it. */
export function usageOf({ promptTokens, cachedTokens, completionTokens }: Settlement): TokenUsage {
  const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
  return { promptTokens, uncachedTokens, outputTokens: completionTokens };
}
