// An upstream's answer on its way to the client, and the ticket that it settles at its end.

import type { WorkerEnd } from "../../durable/contract.ts";
import type { Grant } from "./pool-picks.ts";
import { type BodyEnd, watchBody } from "./tail-usage.ts";

export interface SettledAnswer {
  readonly response: Response;
  /** Guards the ticket until the answer has ended and is settled, however early it is disposed of. */
  readonly grant: Grant;
  /** When the ticket is settled. Never rejects. */
  readonly settled: Promise<void>;
}

/** `sentAtMs`: Unix ms at which the request was sent. */
export function settleAtEnd(response: Response, grant: Grant, sentAtMs: number): SettledAnswer {
  const { status, body } = response;
  let isReleased = false;
  const settle = async (end: BodyEnd) => {
    if (!isReleased) await grant.settle(workerEnd(status, sentAtMs, end));
    grant[Symbol.dispose]();
  };
  const held: Grant = {
    ...grant,
    release(how) {
      isReleased = true;
      grant.release(how);
    },
    // The answer has not ended yet for whoever disposes of it: it does so once headers have left.
    [Symbol.dispose]: () => undefined,
  };
  if (body === null) return { response, grant: held, settled: settle(NO_BODY) };
  const watched = watchBody(body);
  const headers = response.headers;
  return {
    response: new Response(watched.body, { status, headers }),
    grant: held,
    settled: watched.ended.then(settle),
  };
}

const NO_BODY: BodyEnd = { outcome: "completed", firstByteAtMs: undefined, usage: undefined };

function workerEnd(status: number, sentAtMs: number, end: BodyEnd): WorkerEnd {
  const { outcome, firstByteAtMs, usage } = end;
  const { promptTokens = null, cachedTokens = null, completionTokens = null } = usage ?? {};
  const isKnown = promptTokens !== null && completionTokens !== null;
  return {
    status,
    outcome,
    ttftMs: firstByteAtMs === undefined ? null : firstByteAtMs - sentAtMs,
    durationMs: Date.now() - sentAtMs,
    ...(isKnown ? { usage: { promptTokens, cachedTokens, completionTokens } } : {}),
  };
}
