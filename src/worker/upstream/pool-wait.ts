// A request's wait in a pool's queue, from the Worker's side.
//
//   held wait        the object answers `wait` when it is the request's turn
//   numbered place   too many wait that way: the Worker asks again after a while
//   lost             the call broke, the object was reset: the Worker picks again, after a pause
//
// Each pick is the same one, with the time at which the request's body was complete: so its place is never lost,
// neither between two calls nor with the object's memory.

import type { HeldGrant, HeldWait, NumberedPlace, PickRefusal } from "../../durable/contract.ts";
import { CLAIMED_WAIT_MS_MAX } from "../../scheduler/flow-control/contracts.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import {
  CLIENT_LEFT,
  type ObjectAnswer,
  type ObjectWay,
  type PoolMoved,
  type PoolUnavailable,
  unavailable,
} from "./ask-object.ts";
import { awaitCall, pause } from "./await-call.ts";

/** `wait` answers within about a minute, with a numbered place if with nothing else. */
export const WAIT_DEADLINE_MS = 90_000;
/**
 * Calls that may fail one after the other, until the object counts as away: after 12.6 s at the least,
 * in which a process that holds objects starts again.
 */
export const LOST_IN_A_ROW_MAX = 6;
/** The pause after a lost call is between half of this and all of it, doubled with each in a row. */
const LOST_PAUSE_BASE_MS = 200;
/** Bounds for what an object says. */
const ASK_AGAIN_MS = { min: 50, max: 600_000 } as const;
/** Up to this much later, but by a tenth at most, so that not all come back at once: no place is given up by then. */
const ASK_AGAIN_SPREAD_MS = 1_000;
/** The queue's own times to live are shorter: an object that answers with places for ever is broken. */
export const WAIT_MS_MAX = CLAIMED_WAIT_MS_MAX;

export interface Turn extends ObjectWay {
  /** The same pick once more. */
  readonly askAgain: () => Promise<ObjectAnswer | PoolUnavailable | PoolMoved>;
  /** Gives the request's place up, where no handle does it. */
  readonly leave: () => Promise<void>;
  /** The pool has no endpoints, and nobody has asked for some yet. */
  readonly askForCapacity: () => void;
}

type Waiting = HeldWait | NumberedPlace;

/** How a request's wait ends: never queued. Never rejects. */
export async function awaitTurn(
  first: Waiting,
  turn: Turn,
): Promise<HeldGrant | PickRefusal | PoolUnavailable | PoolMoved> {
  const startedMs = Date.now();
  let answer: ObjectAnswer | PoolUnavailable | PoolMoved = first;
  let lostInARow = 0;
  for (;;) {
    if (answer.ok === "queued") {
      if (answer.asksForCapacity === true) turn.askForCapacity();
      if (Date.now() - startedMs >= WAIT_MS_MAX) return giveUp(answer, turn, WAITED_TOO_LONG);
      const next = await waitOnce(answer, turn);
      // A held wait has come to something only when its call has been answered.
      if (!("handle" in answer) || !isLost(next)) lostInARow = 0;
      answer = next;
    } else if (isLost(answer) && lostInARow < LOST_IN_A_ROW_MAX) {
      lostInARow++;
      metrics.inc(METRIC.waitsLostTotal, {});
      const pauseMs = (1 - Math.random() / 2) * LOST_PAUSE_BASE_MS * 2 ** lostInARow;
      if (!(await pause(pauseMs, turn.signal))) {
        // Whether the object still has its place is not known: the call that broke may have made one.
        turn.hold(turn.leave());
        return CLIENT_LEFT;
      }
      answer = await turn.askAgain();
    } else {
      return answer;
    }
  }
}

const WAITED_TOO_LONG: PickRefusal = {
  ok: false,
  reason: "rejected-ttl-expired",
  detail: "the pool's object let it wait for longer than any request may",
  retryAfterMs: 1_000,
};

/** Waits no more. */
export function giveUp(waiting: Waiting, turn: Turn, why: PickRefusal): PickRefusal {
  if ("handle" in waiting) waiting[Symbol.dispose]();
  else turn.hold(turn.leave());
  return why;
}

function waitOnce(
  waiting: Waiting,
  turn: Turn,
): Promise<ObjectAnswer | PoolUnavailable | PoolMoved> {
  return "handle" in waiting ? waitHeld(waiting, turn) : waitAway(waiting, turn);
}

async function waitHeld(
  waiting: HeldWait,
  { signal, hold, leave }: Turn,
): Promise<HeldGrant | PickRefusal | NumberedPlace | PoolUnavailable> {
  const late = (answer: object) => {
    if (Symbol.dispose in answer) (answer as Disposable)[Symbol.dispose]();
  };
  const patience = { deadlineMs: WAIT_DEADLINE_MS, signal, late };
  try {
    const called = await awaitCall(waiting.handle.wait(), patience);
    if (called.how === "answered") return called.value;
    if (called.how === "failed") return unavailable(called.error);
    // The call is open, and keeps the handle alive: disposing it is not heard of.
    hold(leave());
    return CLIENT_LEFT;
  } finally {
    waiting[Symbol.dispose]();
  }
}

async function waitAway(
  place: NumberedPlace,
  turn: Turn,
): Promise<ObjectAnswer | PoolUnavailable | PoolMoved> {
  const askAgainMs = Math.min(ASK_AGAIN_MS.max, Math.max(ASK_AGAIN_MS.min, place.askAgainMs));
  const spreadMs = Math.random() * Math.min(ASK_AGAIN_SPREAD_MS, askAgainMs / 10);
  const isHere = await pause(askAgainMs + spreadMs, turn.signal);
  return isHere ? turn.askAgain() : giveUp(place, turn, CLIENT_LEFT);
}

function isLost(answer: ObjectAnswer | PoolUnavailable | PoolMoved): answer is PoolUnavailable {
  return answer.ok === false && answer.reason === "unavailable";
}
