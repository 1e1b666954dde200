// A grant of the pool's object, as a request uses it: what it says of itself goes to the object, by the handle that
// guards its ticket.

import type { HeldGrant, PickRequest } from "../../durable/contract.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import type { EdgePool } from "../edge/edge-pool.ts";
import { withDeadline } from "../shared-copy.ts";
import type { Grant } from "./pool-picks.ts";

/** For the object to take the end of an answer. */
const SETTLE_DEADLINE_MS = 5_000;

/** What a grant of the object's is to the isolate besides. */
export interface AdoptedBy {
  readonly edge: Pick<EdgePool, "granted">;
  /** Why the object was asked. */
  readonly terms: ConsultTerms;
  readonly askedAtMs: number;
}

/** Takes what came with it into the replica, and all keys of the prompt to the object where it wants them. */
export function adopt(
  answer: HeldGrant,
  pick: PickRequest,
  { edge, terms, askedAtMs }: AdoptedBy,
): Grant {
  const { request } = pick;
  edge.granted(answer, pick, askedAtMs);
  // A lost call is as good: what is not learned is found out by the next request.
  if (answer.wantsKeys === true) void answer.handle.learn(request.keys).catch(() => undefined);
  return {
    ok: true,
    ticket: answer.ticket,
    endpoints: answer.endpoints,
    ...(answer.stages === undefined ? {} : { stages: answer.stages }),
    ...(answer.wantsContent === undefined ? {} : { wantsContent: answer.wantsContent }),
    ...(answer.responseHeaders === undefined ? {} : { responseHeaders: answer.responseHeaders }),
    isLocal: false,
    terms,
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
