// Endpoints for a request: from the pool's object, or, while that is away, from what it last said.

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
import { encodeTicketName } from "../../agents/protocol/ticket-name.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";
import { createSubset } from "../../scheduler/subset.ts";
import { METRIC } from "../../telemetry/names.ts";
import { randomHex } from "../crypto.ts";
import { metrics } from "../metrics.ts";
import { knownPools } from "../pools/known-pools.ts";
import { withDeadline } from "../shared-copy.ts";
import {
  askObject,
  CLIENT_LEFT,
  leavePlace,
  type ObjectWay,
  type PoolUnavailable,
} from "./ask-object.ts";
import type { PoolView } from "./pool-view.ts";
import { awaitTurn, giveUp, type Turn } from "./pool-wait.ts";
import { WAITING_BODY_BYTES_MAX, type WaitingBodies } from "./waiting-bodies.ts";

/** How long a pick may take. A request that is to wait is told so at once, and then waits otherwise. */
export const PICK_DEADLINE_MS = 5_000;
/**
 * The same where a snapshot can stand in. Longer than a round trip around the world. A pool with a queue
 * has the longer one: what goes by the snapshot is served out of turn, and a full pool's object is slow.
 */
export const PICK_DEADLINE_WITH_SNAPSHOT_MS = 1_500;

/** For the object to take the end of an answer. */
const SETTLE_DEADLINE_MS = 5_000;

/** Endpoints to try. Dispose it when the answer has ended: until then it guards the ticket. */
export interface Grant extends Omit<PickGrant, "objectEpoch">, Disposable {
  readonly isFromSnapshot: boolean;
  /** Gives the grant back, because it will not be used. */
  release(how: WorkerRelease): void;
  /** Tells how the answer ended, where no relay does. Never rejects. */
  settle(end: WorkerEnd): Promise<void>;
  /** Gives it back because another attempt has answered, and waits until the object knows, for a while. */
  lose(msMax: number): Promise<void>;
}

export interface PickContext extends ObjectWay {
  readonly view: PoolView;
  /** Requests that find the pool full wait. */
  readonly hasQueue: boolean;
  /** Another pool may take the request: it does not wait long for an object that is away. */
  readonly hasOther: boolean;
  /** No snapshot stands in for it. */
  readonly needsObject?: boolean | undefined;
  /** Of the isolate. */
  readonly bodies: WaitingBodies;
  /** The pool has no endpoints, and nobody has asked for some yet. */
  readonly askForCapacity: () => void;
  /** The request has waited in the pool's queue for so long. Called once, if it has. */
  readonly waited: (waitMs: number) => void;
}

/** Asks for endpoints, and waits for them where the pool is full. Never rejects. */
export async function pickEndpoints(
  request: PickRequest,
  context: PickContext,
): Promise<Grant | PickRefusal | PoolUnavailable> {
  const { view, hasQueue, hasOther } = context;
  const canServe = view.canServe(Date.now());
  const isShort = hasOther || (canServe && !hasQueue);
  const deadlineMs = isShort ? PICK_DEADLINE_WITH_SNAPSHOT_MS : PICK_DEADLINE_MS;
  if (canServe || hasOther) {
    const isAway = view.isAway(Date.now());
    const grant = isAway ? pickFromSnapshot(request, context) : undefined;
    if (grant !== undefined) return grant;
    if (isAway && hasOther) return STILL_AWAY;
    view.beginProbe(Date.now(), deadlineMs);
  }
  const answer = await askWithRoom(request, context, deadlineMs);
  if (!answer.ok && answer.reason === "unavailable") {
    view.markAway(Date.now());
    return pickFromSnapshot(request, context) ?? answer;
  }
  if (!answer.ok) return answer;
  if (answer.snapshot !== undefined) {
    const { snapshot } = answer;
    view.update(snapshot, Date.now());
    if (snapshot.summary !== undefined) knownPools.heard(snapshot.summary, Date.now());
  }
  return adopt(answer, request);
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
  context: PickContext,
  deadlineMs: number,
): Promise<HeldGrant | PickRefusal | PoolUnavailable> {
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
  context: PickContext,
  deadlineMs: number,
): Promise<HeldGrant | PickRefusal | PoolUnavailable> {
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

async function ask(request: PickRequest, context: PickContext, deadlineMs: number) {
  const wantsSnapshot = context.view.wantsSnapshot(Date.now());
  const pick = wantsSnapshot ? { ...request, wantsSnapshot } : request;
  const answer = await askObject(context, pick, deadlineMs);
  const isAnswer = answer.ok !== false || answer.reason !== "unavailable";
  if (isAnswer && answer !== CLIENT_LEFT) context.view.markBack();
  return answer;
}

function turnOf(request: PickRequest, context: PickContext): Turn {
  return {
    ...context,
    askAgain: () => ask(request, context, PICK_DEADLINE_MS),
    leave: () => leavePlace(context, request),
  };
}

async function waitInQueue(
  queued: HeldWait | NumberedPlace,
  request: PickRequest,
  context: PickContext,
): Promise<HeldGrant | PickRefusal | PoolUnavailable> {
  const startedMs = Date.now();
  try {
    return await awaitTurn(queued, turnOf(request, context));
  } finally {
    context.waited(Date.now() - startedMs);
  }
}

function adopt(answer: HeldGrant, { request }: PickRequest): Grant {
  // A lost call is as good: what is not learned is found out by the next request.
  if (answer.wantsKeys === true) void answer.handle.learn(request.keys).catch(() => undefined);
  return {
    ok: true,
    ticket: answer.ticket,
    endpoints: answer.endpoints,
    ...(answer.stages === undefined ? {} : { stages: answer.stages }),
    ...(answer.wantsContent === undefined ? {} : { wantsContent: answer.wantsContent }),
    ...(answer.responseHeaders === undefined ? {} : { responseHeaders: answer.responseHeaders }),
    isFromSnapshot: false,
    release(how) {
      // A lost call is as good: the disposal releases the ticket too, or its lease expires.
      void answer.handle.release(how).catch(() => undefined);
    },
    async settle(end) {
      try {
        await withDeadline(answer.handle.settle(end), SETTLE_DEADLINE_MS);
      } catch {
        // An object of the release before has no such word, and knows this one; or the call is lost.
        void answer.handle.release("unmetered").catch(() => undefined);
      }
    },
    async lose(msMax) {
      const told = answer.handle.release("hedge-lost").catch(() => undefined);
      await withDeadline(told, msMax).catch(() => undefined);
    },
    [Symbol.dispose]: () => answer[Symbol.dispose](),
  };
}

/**
 * Endpoints without the object. The ticket is of an epoch that no object has had, so that an object
 * which comes back takes the relay's reports for those of an earlier life and counts them.
 */
function pickFromSnapshot(
  { request, exclude }: PickRequest,
  { view, needsObject }: PickContext,
): Grant | undefined {
  if (needsObject === true) return undefined;
  const subset = request.subset === undefined ? undefined : createSubset(request.subset);
  const endpoints = view.choose(exclude, Date.now(), Math.random, subset);
  if (endpoints.length === 0) return undefined;
  const { promptTokens, priority } = request;
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  const reservedTokens = promptTokens + outputTokens;
  const facts = { promptTokens, outputTokens, reservedTokens, priority };
  return {
    ok: true,
    ticket: encodeTicketName(randomHex(8), 0, facts),
    endpoints,
    isFromSnapshot: true,
    release: () => undefined,
    settle({ status }) {
      if (status < 400) metrics.inc(METRIC.unmeteredAnswersTotal, {});
      return Promise.resolve();
    },
    lose: () => Promise.resolve(),
    [Symbol.dispose]: () => undefined,
  };
}
