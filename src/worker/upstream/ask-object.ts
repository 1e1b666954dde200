// One pick, asked of a pool's object: again if the runtime says that this is safe, and not for long.

import type {
  EdgePort,
  HeldGrant,
  HeldWait,
  KeptPick,
  MovedPick,
  NumberedPlace,
  PickRefusal,
  PickRequest,
  PoolPort,
} from "../../durable/contract.ts";
import type { ShardMap } from "../../scheduler/shards/contracts.ts";
import { disposeResult } from "../dispose-result.ts";
import { awaitCall, pause } from "./await-call.ts";

/** A pause before the one retry of a call that the runtime calls retryable. */
const RETRY_PAUSE_MS = { min: 20, max: 80 } as const;

/** The object could not be asked: unreachable, overloaded, or too slow. */
export interface PoolUnavailable {
  readonly ok: false;
  readonly reason: "unavailable";
  readonly detail: string;
}

/** The object takes no requests any more; others of the pool do. */
export interface PoolMoved {
  readonly ok: false;
  readonly reason: "moved";
  readonly detail: string;
  readonly shards: ShardMap;
}

export type ObjectAnswer = HeldGrant | PickRefusal | HeldWait | NumberedPlace;

export interface ObjectWay {
  /** A fresh way to the object for each call. */
  readonly port: () => PoolPort & Partial<EdgePort>;
  /** Told what each call took that was answered, if anybody wants to know. */
  readonly measured?: (ms: number, nowMs: number) => void;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** Keeps the request's context alive for work that its answer does not wait for. Never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

/** What the log has of a client that left; it sees nothing itself. */
export const CLIENT_LEFT: PickRefusal = {
  ok: false,
  reason: "rejected-context-cancelled",
  detail: "the client left",
  retryAfterMs: 0,
};

/** Idempotent by (request id, attempt), so one lost answer may be asked again. */
export async function askObject(
  way: ObjectWay,
  request: PickRequest,
  deadlineMs: number,
): Promise<ObjectAnswer | KeptPick | PoolUnavailable | PoolMoved> {
  const { signal } = way;
  for (let isRetry = false; ; isRetry = true) {
    if (signal.aborted) return CLIENT_LEFT;
    const taken = Promise.withResolvers<void>();
    const late = (answer: ObjectAnswer | KeptPick | PoolMoved) =>
      taken.resolve(giveBack(answer, way, request));
    // Async, so that what is thrown at once counts as a call that fails.
    const asked = (async () => readMoved(await way.port().pick(request)))();
    const askedAtMs = Date.now();
    const called = await awaitCall(asked, { deadlineMs, signal, late });
    if (called.how === "answered") {
      const nowMs = Date.now();
      way.measured?.(nowMs - askedAtMs, nowMs);
      // Others are disposed by whoever uses what they hold.
      if (!("handle" in called.value)) disposeResult(called.value);
      return called.value;
    }
    if (called.how === "left") {
      // A place is no capability: it does not end with this context, so the answer is waited for.
      asked.catch(() => taken.resolve());
      way.hold(Promise.race([taken.promise, elapsed(deadlineMs)]));
      return CLIENT_LEFT;
    }
    if (isRetry || !isRetryable(called.error)) return unavailable(called.error);
    const { min, max } = RETRY_PAUSE_MS;
    if (!(await pause(min + Math.random() * (max - min), signal))) return CLIENT_LEFT;
  }
}

function readMoved(
  answer: ObjectAnswer | KeptPick | MovedPick,
): ObjectAnswer | KeptPick | PoolMoved {
  if (answer.ok !== "moved") return answer;
  disposeResult(answer);
  const detail = "the object takes no requests any more";
  return { ok: false, reason: "moved", detail, shards: answer.shards };
}

/** Tells the object that nobody waits for this any more. */
export async function leavePlace(
  { port }: Pick<ObjectWay, "port">,
  { request, attempt }: PickRequest,
): Promise<void> {
  try {
    await port().leave(request.requestId, attempt);
  } catch {
    // The object is gone, or of the version before: the place is given up some seconds later.
  }
}

/** An answer that came too late. A place is left only if nobody will ask for it again. */
async function giveBack(
  answer: ObjectAnswer | KeptPick | PoolMoved,
  way: ObjectWay,
  request: PickRequest,
): Promise<void> {
  disposeResult(answer);
  const isPlace = answer.ok === "queued" && !("handle" in answer);
  if (isPlace && way.signal.aborted) await leavePlace(way, request);
}

export function unavailable(error: unknown): PoolUnavailable {
  return { ok: false, reason: "unavailable", detail: describe(error) };
}

/** An overloaded object gets no second call; what the deadline ended is not retryable either. */
function isRetryable(error: unknown): boolean {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
  return retryable === true && overloaded !== true;
}

function describe(error: unknown): string {
  const isOverloaded = (error as { overloaded?: boolean }).overloaded === true;
  if (isOverloaded) return "the pool's object is overloaded";
  return error instanceof Error ? error.message : "the pool's object failed";
}

function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
