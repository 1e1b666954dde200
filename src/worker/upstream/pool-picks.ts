// Endpoints for a request: by this isolate itself, where its replica of the pool and the rule allow, or from the
// pool's object; and while that is away, by the replica again.

import type {
  HeldGrant,
  HeldWait,
  NumberedPlace,
  PickGrant,
  PickRefusal,
  PickRequest,
  WorkerEnd,
  WorkerRelease,
} from "../../durable/contract.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Asking as EdgeAsking, EdgePool } from "../edge/edge-pool.ts";
import { metrics } from "../metrics.ts";
import { adopt } from "./adopted-grant.ts";
import { askMeanwhile } from "./ask-meanwhile.ts";
import {
  askObject,
  CLIENT_LEFT,
  leavePlace,
  type ObjectWay,
  type PoolMoved,
  type PoolUnavailable,
} from "./ask-object.ts";
import type { PoolView } from "./pool-view.ts";
import { awaitTurn, giveUp, type Turn } from "./pool-wait.ts";
import { WAITING_BODY_BYTES_MAX, type WaitingBodies } from "./waiting-bodies.ts";

/** How long a pick may take. A request that is to wait is told so at once, and then waits otherwise. */
export const PICK_DEADLINE_MS = 5_000;
/**
 * The same where the replica can stand in. Longer than a round trip around the world. A pool with a queue
 * has the longer one: what goes by the replica is served out of turn, and a full pool's object is slow.
 */
export const PICK_DEADLINE_WITH_REPLICA_MS = 1_500;

/** Endpoints to try. Dispose it when the answer has ended: until then it guards the ticket. */
export interface Grant
  extends
    Pick<PickGrant, "ok" | "ticket" | "endpoints" | "stages" | "responseHeaders" | "wantsContent">,
    Disposable {
  /** This isolate has decided, and tells the object afterwards. */
  readonly isLocal: boolean;
  readonly terms: ConsultTerms;
  /** The object is asked about it while it is on its way. */
  readonly meanwhile?: Meanwhile;
  /** Gives the grant back, because it will not be used. */
  release(how: WorkerRelease): void;
  /** Tells how the answer ended, where no relay does. Never rejects. */
  settle(end: WorkerEnd): Promise<void>;
  /** Gives it back because another attempt has answered, and waits until the object knows, for a while. */
  lose(msMax: number): Promise<void>;
}

/** What the object says of a request that is on its way. */
export interface Meanwhile {
  /**
   * Another grant, where the request is better off: then this one is to be called off. Undefined: it stays. Whoever does not use the other
   * one loses it. Never rejects.
   */
  readonly rather: Promise<Grant | undefined>;
  /** Of the other one. */
  readonly attempt: number;
  /** What has begun to be answered waits for that so long after it was sent. */
  readonly waitMs: number;
}

export interface PickContext extends ObjectWay {
  readonly view: PoolView;
  readonly edge: EdgePool;
  /** Requests that find the pool full wait. */
  readonly hasQueue: boolean;
  /** Another pool may take the request: it does not wait long for an object that is away. */
  readonly hasOther: boolean;
  /** Another object of the pool takes the request if this one is away: no replica stands in for it yet. */
  readonly hasOtherShard?: boolean | undefined;
  /** Only what the object grants will do. */
  readonly needsObject?: boolean | undefined;
  /** The object has to carry it as well: it may be asked for twice. */
  readonly isConsulted?: boolean | undefined;
  /** A number for an attempt that may not be made. */
  readonly reserveAttempt: () => number;
  /** Of the isolate. */
  readonly bodies: WaitingBodies;
  /** The pool has no endpoints, and nobody has asked for some yet. */
  readonly askForCapacity: () => void;
  /** Told of each decision on where to decide; the last one stands. */
  readonly decided: (terms: ConsultTerms) => void;
  /** The request has waited in the pool's queue for so long. Called once, if it has. */
  readonly waited: (waitMs: number) => void;
}

/** A pick that the object is asked for, and why. */
interface Asking extends PickContext, EdgeAsking {
  /** For the first time. */
  readonly askedAtMs: number;
}

/** Asks for endpoints, and waits for them where the pool is full. Never rejects. */
export async function pickEndpoints(
  request: PickRequest,
  context: PickContext,
): Promise<Grant | PickRefusal | PoolUnavailable | PoolMoved> {
  const { edge, view, hasQueue, hasOther, hasOtherShard = false } = context;
  const nowMs = Date.now();
  const isAway = view.isAway(nowMs);
  // Where the object is away, and another pool is not, nobody waits for it.
  const decided = edge.decide(request, context, { nowMs, isAway });
  context.decided(decided.terms);
  if ("ok" in decided) return decided;
  if ("meanwhile" in decided) return askMeanwhile(request, context, decided);
  if (isAway && hasOther) return STILL_AWAY;
  const canServe = edge.canServe(nowMs);
  const isShort = hasOther || hasOtherShard || (canServe && !hasQueue);
  const deadlineMs = isShort ? PICK_DEADLINE_WITH_REPLICA_MS : PICK_DEADLINE_MS;
  if (canServe || hasOther || hasOtherShard) view.beginProbe(nowMs, deadlineMs);
  const measured = (ms: number, atMs: number) => edge.link.measured(ms, atMs);
  const asking = { ...context, ...decided, askedAtMs: nowMs, measured };
  const answer = await askWithRoom(request, asking, deadlineMs);
  edge.answered(decided);
  if (!answer.ok && answer.reason === "unavailable") {
    const awayMs = Date.now();
    view.markAway(awayMs);
    if (hasOtherShard) return answer;
    const standIn = edge.decide(request, context, { nowMs: awayMs, isAway: true });
    if (!("ok" in standIn)) return answer;
    context.decided(standIn.terms);
    return standIn;
  }
  const grant = answer.ok ? adopt(answer, request, asking) : answer;
  edge.renew(context, Date.now());
  return grant;
}

const STILL_AWAY: PoolUnavailable = {
  ok: false,
  reason: "unavailable",
  detail: "the pool's object did not answer a moment ago",
};

/**
 * Room for the body is held before the object is asked, so that it hears of no request that could not
 * wait: one without room is let through at once, or refused, and takes nobody's place.
 */
async function askWithRoom(
  request: PickRequest,
  context: Asking,
  deadlineMs: number,
): Promise<HeldGrant | PickRefusal | PoolUnavailable | PoolMoved> {
  const { bodies } = context;
  const { bodyBytes } = request.request;
  if (!bodies.tryHold(bodyBytes)) return askWithoutRoom(request, context, deadlineMs);
  try {
    const asked = await ask(request, context, deadlineMs);
    return asked.ok === "queued" ? await waitInQueue(asked, request, context) : asked;
  } finally {
    bodies.release(bodyBytes);
  }
}

async function askWithoutRoom(
  pick: PickRequest,
  context: Asking,
  deadlineMs: number,
): Promise<HeldGrant | PickRefusal | PoolUnavailable | PoolMoved> {
  const request = { request: pick.request, attempt: pick.attempt, exclude: pick.exclude };
  const answer = await ask(request, context, deadlineMs);
  // An object of another version may let it wait.
  const refusal = answer.ok === "queued" ? giveUp(answer, turnOf(request, context), FULL) : answer;
  const isFull = refusal.ok === false && refusal.reason === "rejected-saturated";
  if (!isFull || !context.hasQueue) return refusal;
  metrics.inc(METRIC.waitsRefusedTotal, {});
  const isTooLarge = request.request.bodyBytes > WAITING_BODY_BYTES_MAX;
  const retryAfterMs = isTooLarge ? 0 : refusal.retryAfterMs;
  return { ...refusal, detail: FULL.detail, retryAfterMs };
}

const FULL: PickRefusal = {
  ok: false,
  reason: "rejected-saturated",
  detail: "the pool is full, and this isolate holds as many bodies of waiting requests as it may",
  // Others that wait need the room for seconds, not minutes.
  retryAfterMs: 1_000,
};

async function ask(request: PickRequest, context: Asking, deadlineMs: number) {
  const { edge, view } = context;
  const pick = edge.asking(request, context, context, Date.now());
  const answer = await askObject(context, pick, deadlineMs);
  const isAnswer = answer.ok !== false || answer.reason !== "unavailable";
  if (isAnswer && answer !== CLIENT_LEFT) view.markBack();
  return answer.ok === "kept" ? NOTHING_SENT : answer;
}

/** Of an object that has misunderstood. */
const NOTHING_SENT: PoolUnavailable = {
  ok: false,
  reason: "unavailable",
  detail: "the pool's object kept what was not sent",
};

function turnOf(request: PickRequest, context: Asking): Turn {
  return {
    ...context,
    askAgain: () => ask(request, context, PICK_DEADLINE_MS),
    leave: () => leavePlace(context, request),
  };
}

async function waitInQueue(
  queued: HeldWait | NumberedPlace,
  request: PickRequest,
  context: Asking,
): Promise<HeldGrant | PickRefusal | PoolUnavailable | PoolMoved> {
  const startedMs = Date.now();
  // This is an answer: for as long as it waits it has no endpoint.
  context.edge.answered(context);
  try {
    return await awaitTurn(queued, turnOf(request, context));
  } finally {
    context.waited(Date.now() - startedMs);
  }
}
