// One prefill at one endpoint: asked, read to its end, and judged. The judgement is held for or against the
// endpoint, not the head of its answer: one that hangs or dies inside it is as bad as one that cannot be reached.
//
//   2xx                                  ok, or no-parameters where the connector finds none
//   2xx with an error in its stream      engine-error
//   429                                  overloaded
//   502, 503, 504                        unavailable
//   other 5xx, an answer too long        engine-error
//   any other status                     refused: the client's own answer, as it is
//   no connection; one that broke, or a  unreachable; broken
//   stream that ends before its end
//   no whole answer in time              timeout

import type { Clock } from "../../../scheduler/support/clock.ts";
import type { TicketPrefilled } from "../../protocol/messages.ts";
import { isStream, type Attempt } from "../attempt.ts";
import type { EndpointMarks } from "../endpoint-marks.ts";
import type { EngineAnswer } from "../engine-answer.ts";
import type { EnginePool } from "../engine-pools.ts";
import { JsonMeter } from "../json-meter.ts";
import { keepAnswer, type KeptAnswer } from "../kept-answer.ts";
import type { BodyLoan } from "../request-body.ts";
import { SseMeter } from "../sse-meter.ts";
import { UNKNOWN_USAGE, type Usage } from "../../protocol/answer-usage.ts";
import { attemptWithRetry, type WalkContext } from "../walk.ts";
import type { Leg } from "./connector.ts";
import type { Overdue } from "./overdue.ts";

/** Of a prefiller's answer: block ids of a million tokens are below it, whatever their groups. */
export const PREFILL_ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** A prefill's answer is no stream that somebody waits for: nothing is held back for a first byte. */
const NOT_HELD = 0;

export type PrefillOutcome = TicketPrefilled["outcome"];

export interface PrefillRequest {
  readonly path: string;
  /** With headers that every leg has. */
  readonly leg: Leg;
  /** Aborted when nobody wants the prefill any more. */
  readonly signal: AbortSignal;
  /** Stopped when the prefill has ended. */
  readonly overdue: Overdue;
  /** Whether it is the endpoint that is slow where the prefill is not done in time. */
  readonly blamesTimeout: boolean;
  /** The request has broken another endpoint: it may be what breaks this one. */
  readonly hasBroken: boolean;
  /** Counts what is read of the answer; absent where that is only drained. */
  readonly loan?: BodyLoan;
}

export interface Prefilled {
  readonly endpoint: string;
  readonly outcome: PrefillOutcome;
  readonly durationMs: number;
  readonly usage: Usage;
  /** Of a 2xx; empty where it was only drained. */
  readonly body?: Uint8Array;
  /** What the engine answered instead of prefilling, for a client that is to get it. */
  readonly kept?: KeptAnswer;
}

type Judged = Omit<Prefilled, "endpoint" | "durationMs" | "usage"> & { readonly usage?: Usage };

/** Asks for one prefill. Never rejects. */
export async function prefill(
  context: WalkContext & { readonly clock: Clock },
  pool: EnginePool,
  request: PrefillRequest,
): Promise<Prefilled> {
  const { path, leg, overdue } = request;
  const startedAtMs = context.clock();
  const signal = AbortSignal.any([request.signal, overdue.signal]);
  const tried = await attemptWithRetry(context, pool, {
    path,
    ...leg,
    signal,
    headHeldMsMax: NOT_HELD,
  });
  const judged = await judge(pool.address, tried, request);
  overdue.stop();
  const outcome = endedBy(judged.outcome, request.signal, overdue.signal);
  const at = { ...request, endpoint: pool.address, sentAtMs: startedAtMs };
  mark(context.marks, outcome, { ...at, tried });
  return {
    usage: UNKNOWN_USAGE,
    ...judged,
    outcome,
    endpoint: pool.address,
    durationMs: context.clock() - startedAtMs,
  };
}

/** An aborted prefill fails in the way that its place in the exchange has; only the reason counts. */
function endedBy(
  outcome: PrefillOutcome,
  unwanted: AbortSignal,
  overdue: AbortSignal,
): PrefillOutcome {
  if (outcome === "ok" || outcome === "refused") return outcome;
  if (unwanted.aborted) return "cancelled";
  return overdue.aborted ? "timeout" : outcome;
}

/** Holds a prefill for or against its endpoint. */
function mark(
  marks: EndpointMarks,
  outcome: PrefillOutcome,
  at: Pick<PrefillRequest, "blamesTimeout" | "hasBroken"> & {
    readonly endpoint: string;
    readonly sentAtMs: number;
    readonly tried: Attempt;
  },
): void {
  const { endpoint, tried } = at;
  if (outcome === "ok" || outcome === "refused") return marks.reached(endpoint, at.sentAtMs);
  if (outcome === "timeout" && at.blamesTimeout) return marks.timedOut(endpoint);
  if (outcome === "broken" && !at.hasBroken) return marks.failed(endpoint, "reset");
  if (outcome === "unreachable" && tried.outcome === "unreachable") {
    return marks.failed(endpoint, tried.why);
  }
  if (outcome === "unavailable" && tried.outcome === "unavailable") marks.unavailable(endpoint);
}

async function judge(endpoint: string, tried: Attempt, request: PrefillRequest): Promise<Judged> {
  if (!("answer" in tried)) return { outcome: tried.outcome };
  const { answer } = tried;
  const { statusCode: status } = answer;
  if (status < 300) return request.loan === undefined ? drain(answer) : read(answer, request.loan);
  const kept = await keepAnswer(endpoint, answer);
  const isUnavailable = tried.outcome === "unavailable" || status === 504;
  const facts = kept === undefined ? {} : { kept };
  if (tried.outcome === "overloaded") return { outcome: "overloaded", ...facts };
  if (isUnavailable) return { outcome: "unavailable", ...facts };
  // What cannot be passed on whole is as good as an engine's own trouble.
  return { outcome: status >= 500 || kept === undefined ? "engine-error" : "refused", ...facts };
}

async function read(answer: EngineAnswer, loan: BodyLoan): Promise<Judged> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > PREFILL_ANSWER_BYTES_MAX || !loan.tryTake(chunk.byteLength)) {
        return { outcome: "engine-error" };
      }
      chunks.push(chunk);
    }
  } catch {
    // The engine broke off, the time is over, or nobody wants the prefill any more.
    return { outcome: "broken" };
  }
  const body = Buffer.concat(chunks, size);
  const meter = new JsonMeter();
  meter.push(body);
  return { outcome: "ok", body, usage: meter.usage };
}

async function drain(answer: EngineAnswer): Promise<Judged> {
  const stream = isStream(answer) ? new SseMeter(false) : undefined;
  const meter = stream ?? new JsonMeter();
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) meter.push(chunk);
  } catch {
    return { outcome: "broken" };
  }
  stream?.end();
  if (stream?.hasError === true) return { outcome: "engine-error" };
  if (stream?.isComplete === false) return { outcome: "broken" };
  return { outcome: "ok", usage: meter.usage };
}
