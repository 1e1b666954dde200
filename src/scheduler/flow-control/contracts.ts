// What flow control asks of its policies. Each is a plugin; one instance a named plugin and pool.
//
//   bands, by strict priority → a FairnessPolicy chooses a flow → an OrderingPolicy its next request
//   a SaturationDetector says how full the pool is, a UsageLimitPolicy how full is too full for a band
//   an EvictionFilter and an EvictionOrder choose who is ended for somebody of a higher priority
//
// Everything is synchronous, and time is only what is passed in.

import type { EndpointColumns } from "../model/endpoint-columns.ts";

/** Keys of a waiting request, at even strides: what it needs for a guess at what is cached where. */
export const QUEUED_KEYS_MAX = 128;

/** How long before it is enqueued a request may say that it came. */
export const CLAIMED_WAIT_MS_MAX = 3_600_000;

/** A request that is to be let through when its turn comes. Whoever enqueues it must not change it. */
export interface QueuedRequest {
  readonly requestId: string;
  /** From 0; with the request's id it names one entry of the queue. */
  readonly attempt: number;
  /** Who is served fairly: a tenant, or what a trusted hop says. */
  readonly fairnessId: string;
  /** Higher first; see objectives.ts. */
  readonly priority: number;
  /** Share of the flow among its band's, relative to the others'; 1 is usual. */
  readonly weight: number;
  /** Of the body that its Worker holds. */
  readonly bytes: number;
  readonly promptTokens: number;
  /** Of the prompt, what the best endpoint would have to compute; as far as is known. */
  readonly uncachedTokens: number;
  /** Of the answer, as is expected. */
  readonly outputTokens: number;
  /** Unix ms of its first arrival anywhere: a request that is enqueued again keeps its place. */
  readonly receivedAtMs: number;
  /** The longest wait its client wants. */
  readonly ttlMs?: number;
  /** The time to its first token that its client wants. */
  readonly ttftSloMs?: number;
  /** Content keys, two words each, at most QUEUED_KEYS_MAX of them; see queued-keys.ts. */
  readonly keys: Uint32Array;
  /** Blocks of the prompt from one of them to the next. */
  readonly blocksPerKey: number;
}

/** One that waits, and what is known of its wait. */
export interface WaitingRequest {
  readonly request: QueuedRequest;
  /** The request's own, but never in the future and at most CLAIMED_WAIT_MS_MAX ago. */
  readonly receivedAtMs: number;
  /** Unix ms. */
  readonly enqueuedAtMs: number;
  /** Unix ms at which its time in the queue of a pool with endpoints ends; Infinity without a limit. */
  readonly expiresAtMs: number;
}

/** What a request has really taken. */
export interface TokenUsage {
  readonly promptTokens: number;
  /** Of the prompt, what was computed for it. */
  readonly uncachedTokens: number;
  readonly outputTokens: number;
}

/** The requests of one fairness id at one priority. */
export interface FlowView {
  readonly fairnessId: string;
  /** Over 0; the last request's. */
  readonly weight: number;
  /** Of those who wait, the ones that can be chosen. */
  readonly waitingCount: number;
  /** The others: their Workers are away. The flow waits as long as either is over 0. */
  readonly awayCount: number;
  /** Next of the flow; undefined only while nobody can be chosen. */
  readonly head: WaitingRequest | undefined;
}

export interface FairnessContext {
  readonly nowMs: number;
  /** Tokens of the request's prompt that the best endpoint holds. Absent where nobody can tell. */
  readonly matchTokens?: (request: QueuedRequest) => number;
}

/** Fairness among the flows of one band. It is told everything that happens to them, in order. */
export interface BandFairness {
  /**
   * The flow can be chosen now; it could not before. `wasAway`: it has waited all along, since before
   * it left, and has lost neither its turn nor what it is owed.
   */
  joined(flow: FlowView, wasAway: boolean): void;
  /** The flow cannot be chosen any more: nothing waits in it, or only who is away. */
  left(flow: FlowView): void;
  /** Another request is next in the flow. It could be chosen before, too. */
  headChanged?(flow: FlowView): void;
  /** Of the flows that can be chosen, whose turn it is; undefined only where there is none. */
  choose(context: FairnessContext): FlowView | undefined;
  /** The flow's next request was let through. Told before `left` and `headChanged`. */
  dispatched?(flow: FlowView, request: QueuedRequest): void;
  /** A request that was let through has ended, or has been given up: then with no tokens. */
  settled?(flow: FlowView, ended: SettledRequest): void;
  /**
   * By how much flows are ahead of the one that waits and was served least, by fairness id, and what of
   * the restored debts nobody has joined for: what should outlive a restart.
   */
  debts?(): ReadonlyMap<string, number>;
  /**
   * Debts of a life before, in the place of those restored earlier. Each is held against its flow when
   * it first joins.
   */
  restore?(debts: ReadonlyMap<string, number>): void;
  /** What flows have been served here, since they are known: for the other objects of the pool. */
  attained?(): readonly AttainedService[];
  /**
   * Flows have been served by other objects of the pool meanwhile, by so many tokens by their weight. Of a
   * flow that is not known here it is forgotten: it begins with nothing saved up, as everybody does.
   */
  servedElsewhere?(tokens: ReadonlyMap<string, number>): void;
  /** The flow is collected. It comes back as another object, if at all. */
  forgotten?(flow: FlowView): void;
}

/** What one flow has been served by one object. */
export interface AttainedService {
  readonly fairnessId: string;
  /** Another one: the flow was forgotten, and `tokens` began at 0 again. */
  readonly life: number;
  /** By the flow's weight. Falls where less was used than reserved. */
  readonly tokens: number;
}

export interface SettledRequest {
  readonly request: QueuedRequest;
  readonly usage: TokenUsage;
  readonly nowMs: number;
}

export interface FairnessPolicy {
  /** State for a band of its own. */
  forBand(): BandFairness;
}

export interface OrderingPolicy {
  /**
   * Lower is served first; of equal ranks who came first. It must not change while the request waits.
   * Infinity for a request that the order has nothing to say of.
   */
  rank(waiting: WaitingRequest): number;
}

/** The part of a pool that a detector looks at. */
export interface SaturationView {
  readonly endpoints: EndpointColumns;
  /** Slots to look at are `candidates[0 .. candidateCount)`. */
  readonly candidates: Int32Array;
  readonly candidateCount: number;
  readonly nowMs: number;
  /** Samples older than this are stale, whatever the detector's own threshold. */
  readonly staleAfterMs: number;
}

export interface SaturationDetector {
  /** 1 and more: full. Without candidates 1. */
  saturation(view: SaturationView): number;
  /**
   * Requests that fill one of the candidates that has nothing to do, on average: what the saturation of a
   * pool is in requests. Absent: 1, so a pool seems to have less room than it has.
   */
  requestsOfFull?(view: SaturationView): number;
  /**
   * Endpoints that count as full, or not at all, because nobody has heard of them lately. Asked of all
   * together, and of each alone. Absent: the detector sees all of them as they are.
   */
  staleCount?(view: SaturationView): number;
  /** From the end of a request until the detector sees the room it left, at most. */
  lagMs(staleAfterMs: number): number;
}

export interface UsageLimitPolicy {
  /**
   * Writes into `out[i]` the saturation at which nothing of `priorities[i]` is let through any more.
   * Priorities are distinct and descending, and so must be what is written. Called once a dispatch.
   */
  ceilings(saturation: number, priorities: readonly number[], out: Float64Array): void;
}

/** One that was let through and has not emitted a byte. */
export interface DispatchedRequest {
  readonly request: QueuedRequest;
  /** Unix ms. */
  readonly dispatchedAtMs: number;
}

export interface EvictionFilter {
  /** Asked once, when the request is let through. */
  mayEvict(dispatched: DispatchedRequest): boolean;
}

export interface EvictionOrder {
  /** Whether `a` is ended before `b`. A strict order that does not change. */
  endsBefore(a: DispatchedRequest, b: DispatchedRequest): boolean;
}
