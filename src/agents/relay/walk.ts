// Walks the ordered endpoints until one answers. Everything here is before the first byte of an
// answer: once a client has seen a byte, nothing is tried again.
//
//   unreachable (refused, unknown host, connect timeout)  → next: nothing was sent
//   broken (reset, closed, garbage)                       → the same once more, if no head came and
//                                                           the connection may just have been a
//                                                           dead idle one; then next, for bodies up
//                                                           to 1 MiB
//   429                                                   → next: the engine is full, not ill
//   502, 503                                              → next
//   no head in time                                       → give up: it was working on it
//   any other status                                      → the answer
//
// What an endpoint is sent may differ from one to the next: each leg is asked for when its turn comes. One
// that is withdrawn while it is under way is no failure; the same endpoint is then given another.
//
// Marked endpoints come after all others, each part in the order given. A step after an attempt
// that may have made an engine work is paid from the retry budget; when that is empty, the walk
// ends with what it has.

import type { Clock } from "../../scheduler/support/clock.ts";
import {
  attempt,
  type Attempt,
  type AttemptLeg,
  type AttemptOutcome,
  type AttemptRequest,
} from "./attempt.ts";
import type { EndpointMarks, Trial } from "./endpoint-marks.ts";
import type { EngineAnswer } from "./engine-answer.ts";
import type { EnginePool, EnginePools } from "./engine-pools.ts";
import { keepAnswer, type KeptAnswer } from "./kept-answer.ts";
import type { RetryBudget } from "../../scheduler/support/retry-budget.ts";

/**
 * After a broken connection, a larger body is not sent again: it costs the most, and may be what
 * broke it.
 */
export const RETRY_BODY_BYTES_MAX = 1024 * 1024;

/** What all walks of a relay share. */
export interface WalkContext {
  readonly pools: EnginePools;
  readonly marks: EndpointMarks;
  readonly retries: RetryBudget;
  /** The marks' clock. */
  readonly clock: Clock;
}

export interface WalkLeg extends AttemptLeg {
  /** Aborted, too, when the walk's is. Absent: nobody withdraws the leg. */
  readonly signal?: AbortSignal;
}

/**
 * In place of a leg: nobody is to be tried any more. This is the answer; or the endpoint cannot be asked,
 * because it computes no prompt and nobody prefills for it.
 */
export interface Stop {
  readonly stop: KeptAnswer | "unpaired";
}

/** Also a metric label. */
type TriedOutcome = AttemptOutcome | "withdrawn";

export interface WalkRequest extends Pick<AttemptRequest, "path" | "signal" | "headHeldMsMax"> {
  readonly destinations: readonly string[];
  /** Gives what an endpoint is sent. Whoever withdraws legs must come to one that he does not withdraw. */
  leg(endpoint: string): WalkLeg | Stop | Promise<WalkLeg | Stop>;
  /** Told before each endpoint that is tried. */
  onTry(endpoint: string): void;
  onAttempt(outcome: TriedOutcome, endpoint: string): void;
}

export interface Walk {
  /** The endpoint that answered, or was tried last. */
  readonly endpoint: string;
  /** Endpoints that were tried and failed before it, in order. */
  readonly failed: readonly string[];
  /** Endpoints that were tried, `endpoint` included. */
  readonly triedCount: number;
  readonly result:
    | { readonly kind: "answered"; readonly answer: EngineAnswer }
    /** Nobody answered; `kept` is the last engine's own refusal, if there was one. */
    | { readonly kind: "exhausted"; readonly kept: KeptAnswer | undefined }
    /** `endpoint` could be asked, but not without a prefill, which nobody did. */
    | { readonly kind: "unpaired" }
    | { readonly kind: "timeout" }
    | { readonly kind: "cancelled" };
}

/** Tries the destinations. Never rejects. */
export async function walk(context: WalkContext, request: WalkRequest): Promise<Walk> {
  context.retries.deposit();
  const left = [...request.destinations];
  const failed: string[] = [];
  let endpoint = left[0]!;
  let kept: KeptAnswer | undefined;
  let hasBroken = false;
  let triedCount = 0;
  for (;;) {
    if (request.signal.aborted) {
      const others = failed.filter((address) => address !== endpoint);
      return { endpoint, failed: others, triedCount, result: { kind: "cancelled" } };
    }
    const next = takeNext(context, left, request);
    if (next === undefined) break;
    const { pool, trial } = next;
    endpoint = pool.address;
    request.onTry(endpoint);
    const leg = await request.leg(endpoint);
    if ("stop" in leg) {
      giveUp(context.marks, trial);
      return { endpoint, failed, triedCount, result: stopped(leg) };
    }
    triedCount += 1;
    const sentAtMs = context.clock();
    const tried = await attemptWithRetry(context, pool, { ...request, ...leg });
    if (tried.outcome === "cancelled" && !request.signal.aborted) {
      request.onAttempt("withdrawn", endpoint);
      giveUp(context.marks, trial);
      left.unshift(endpoint);
      continue;
    }
    request.onAttempt(tried.outcome, endpoint);
    mark(context.marks, tried, { endpoint, sentAtMs, hasBroken, trial });
    if (tried.outcome === "timeout" || tried.outcome === "cancelled") {
      return { endpoint, failed, triedCount, result: { kind: tried.outcome } };
    }
    const size = leg.body.byteLength;
    const goesOn = tried.outcome !== "answered" && mayGoOn(context, left, tried, size);
    if ("answer" in tried) {
      const { answer } = tried;
      if (!goesOn) return { endpoint, failed, triedCount, result: { kind: "answered", answer } };
      kept = (await keepAnswer(endpoint, answer)) ?? kept;
    }
    failed.push(endpoint);
    if (!goesOn) break;
    hasBroken ||= tried.outcome === "broken";
  }
  endpoint = kept?.endpoint ?? endpoint;
  const others = failed.filter((address) => address !== endpoint);
  return { endpoint, failed: others, triedCount, result: { kind: "exhausted", kept } };
}

function stopped({ stop }: Stop): Walk["result"] {
  return stop === "unpaired" ? { kind: "unpaired" } : { kind: "exhausted", kept: stop };
}

interface Next {
  readonly pool: EnginePool;
  /** Of an endpoint on probation, where it is this request's. */
  readonly trial: Trial | undefined;
}

/** Takes the next endpoint out of `left`; undefined when none is left. */
function takeNext(
  { pools, marks }: WalkContext,
  left: string[],
  request: WalkRequest,
): Next | undefined {
  while (left.length > 0) {
    const { index, trial } = firstToTry(marks, left);
    const [address] = left.splice(index, 1);
    const pool = pools.get(address!);
    if (pool !== undefined) return { pool, trial };
    // It left while the request was on its way here.
    request.onAttempt("off-list", address!);
    giveUp(marks, trial);
  }
  return undefined;
}

/** Of those left, the first one where none may be tried: a mark may be wrong. */
function firstToTry(
  marks: EndpointMarks,
  left: readonly string[],
): Pick<Next, "trial"> & { readonly index: number } {
  for (const [index, address] of left.entries()) {
    const leave = marks.mayTry(address);
    if (leave !== false) return { index, trial: leave === true ? undefined : leave };
  }
  return { index: 0, trial: undefined };
}

/** Lets the next request try what this one has learned nothing of. Others' trials are theirs to end. */
function giveUp(marks: EndpointMarks, trial: Trial | undefined): void {
  if (trial !== undefined) marks.undecided(trial);
}

/** Whether there is another endpoint and, where an engine may work twice, a retry to pay with. */
function mayGoOn(
  { pools, retries }: WalkContext,
  left: readonly string[],
  { outcome }: Attempt,
  bodyBytes: number,
): boolean {
  if (!left.some((address) => pools.get(address) !== undefined)) return false;
  if (outcome === "unreachable" || outcome === "off-list") return true;
  if (outcome === "broken" && bodyBytes > RETRY_BODY_BYTES_MAX) return false;
  return retries.tryWithdraw();
}

/** One attempt, and another if the connection of the first may just have been a dead idle one. */
export async function attemptWithRetry(
  { retries }: Pick<WalkContext, "retries">,
  pool: EnginePool,
  request: AttemptRequest,
): Promise<Attempt> {
  const mayBeStale = pool.hasAnswered && request.body.byteLength <= RETRY_BODY_BYTES_MAX;
  const first = await attempt(pool, request);
  const isStale = mayBeStale && first.outcome === "broken" && !first.hadHead;
  const isRetried = isStale && retries.tryWithdraw();
  return isRetried ? attempt(pool, request) : first;
}

/**
 * Holds an attempt for or against its endpoint. A request that breaks a second endpoint may itself
 * be what breaks them: no single one may cause more than one mark that way.
 */
function mark(
  marks: EndpointMarks,
  tried: Attempt,
  at: { endpoint: string; sentAtMs: number; hasBroken: boolean; trial: Trial | undefined },
): void {
  const { endpoint } = at;
  switch (tried.outcome) {
    case "unreachable":
      return marks.failed(endpoint, tried.why);
    case "broken":
      if (!at.hasBroken) marks.failed(endpoint, "reset");
      return;
    case "unavailable":
      return marks.unavailable(endpoint);
    case "answered":
      if (tried.answer.statusCode < 500) return marks.reached(endpoint, at.sentAtMs);
      return marks.erred(endpoint);
    case "overloaded":
    case "cancelled":
      return giveUp(marks, at.trial);
    case "timeout":
    case "off-list":
      return;
  }
}
