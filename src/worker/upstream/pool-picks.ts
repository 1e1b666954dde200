// Endpoints for a request: from the pool's object, or, while that is away, from what it last said.

import type {
  HeldGrant,
  PickGrant,
  PickRefusal,
  PickRequest,
  PoolPort,
  WorkerRelease,
} from "../../durable/contract.ts";
import { encodeTicketName } from "../../agents/protocol/ticket-name.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";
import { createSubset } from "../../scheduler/subset.ts";
import { randomHex } from "../crypto.ts";
import { withDeadline } from "../shared-copy.ts";
import type { PoolView } from "./pool-view.ts";

/** How long a pick may take. Nothing waits in the object for capacity, so it is short. */
export const PICK_DEADLINE_MS = 5_000;
/** The same where a snapshot can stand in. Longer than a round trip around the world. */
export const PICK_DEADLINE_WITH_SNAPSHOT_MS = 1_500;
/** A pause before the one retry of a call that the runtime calls retryable. */
const RETRY_PAUSE_MS = { min: 20, max: 80 } as const;

/** The object could not be asked: unreachable, overloaded, or too slow. */
export interface PoolUnavailable {
  readonly ok: false;
  readonly reason: "unavailable";
  readonly detail: string;
}

/** Endpoints to try. Dispose it when the answer has ended: until then it guards the ticket. */
export interface Grant extends Omit<PickGrant, "objectEpoch">, Disposable {
  readonly isFromSnapshot: boolean;
  /** Gives the grant back, because it will not be used. */
  release(how: WorkerRelease): void;
}

export interface PickContext {
  /** A fresh way to the object for each call. */
  readonly port: () => PoolPort;
  readonly view: PoolView;
}

/** Asks for endpoints. Never rejects. */
export async function pickEndpoints(
  request: PickRequest,
  context: PickContext,
): Promise<Grant | PickRefusal | PoolUnavailable> {
  const { view } = context;
  const canServe = view.canServe(Date.now());
  if (canServe) {
    const grant = view.isAway(Date.now()) ? pickFromSnapshot(request, context) : undefined;
    if (grant !== undefined) return grant;
    view.beginProbe(Date.now(), PICK_DEADLINE_WITH_SNAPSHOT_MS);
  }
  const wantsSnapshot = view.wantsSnapshot(Date.now());
  const answer = await askObject(
    context.port,
    wantsSnapshot ? { ...request, wantsSnapshot } : request,
    canServe ? PICK_DEADLINE_WITH_SNAPSHOT_MS : PICK_DEADLINE_MS,
  );
  if (!answer.ok && answer.reason === "unavailable") {
    view.markAway(Date.now());
    return pickFromSnapshot(request, context) ?? answer;
  }
  view.markBack();
  if (!answer.ok) return answer;
  if (answer.snapshot !== undefined) view.update(answer.snapshot, Date.now());
  return {
    ok: true,
    ticket: answer.ticket,
    endpoints: answer.endpoints,
    ...(answer.responseHeaders === undefined ? {} : { responseHeaders: answer.responseHeaders }),
    isFromSnapshot: false,
    release(how) {
      // A lost call is as good: the disposal releases the ticket too, or its lease expires.
      void answer.handle.release(how).catch(() => undefined);
    },
    [Symbol.dispose]: () => answer[Symbol.dispose](),
  };
}

/** Idempotent by (request id, attempt), so one lost answer may be asked again. */
async function askObject(
  port: () => PoolPort,
  request: PickRequest,
  deadlineMs: number,
): Promise<HeldGrant | PickRefusal | PoolUnavailable> {
  for (let isRetry = false; ; isRetry = true) {
    let answer: ReturnType<PoolPort["pick"]> | undefined;
    try {
      answer = port().pick(request);
      const answered = await withDeadline(answer, deadlineMs);
      if (answered.ok !== "queued") return answered;
      // Nobody who does not say how long it would wait is told to.
      giveBack(answered);
      return { ok: false, reason: "unavailable", detail: "queued without being asked" };
    } catch (error) {
      answer?.then(giveBack, () => undefined);
      if (isRetry || !isRetryable(error)) {
        return { ok: false, reason: "unavailable", detail: describe(error) };
      }
    }
    await pause();
  }
}

/** An answer that came too late. */
function giveBack(answer: Awaited<ReturnType<PoolPort["pick"]>>): void {
  if (Symbol.dispose in answer) answer[Symbol.dispose]();
}

/**
 * Endpoints without the object. The ticket is of an epoch that no object has had, so that an object
 * which comes back takes the relay's reports for those of an earlier life and counts them.
 */
function pickFromSnapshot(
  { request, exclude }: PickRequest,
  { view }: PickContext,
): Grant | undefined {
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
    [Symbol.dispose]: () => undefined,
  };
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

function pause(): Promise<void> {
  const ms = RETRY_PAUSE_MS.min + Math.random() * (RETRY_PAUSE_MS.max - RETRY_PAUSE_MS.min);
  return new Promise((resolve) => setTimeout(resolve, ms));
}
