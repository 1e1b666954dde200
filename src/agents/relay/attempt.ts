// One attempt at one endpoint, from connecting to the first byte of its answer.
//
// Engines send the head of a stream before they have read the prompt, so a head says little. As long
// as no byte has followed it, nothing of this answer is lost with the engine, and the relay holds it
// back: another endpoint may still give the whole one. An answer that is not a stream is held until all
// of it is here, or as much as the connection's own buffer takes: nothing is copied for it. A longer one
// goes on as it comes.

import {
  ask,
  READ_BUFFER_BYTES,
  type EngineAnswer,
  type EngineBody,
  type LiveAnswer,
} from "./engine-answer.ts";
import type { EnginePool } from "./engine-pools.ts";

/** How an attempt went; also a metric label. */
export type AttemptOutcome = Attempt["outcome"];

export type Attempt =
  /** `overloaded` is a 429, `unavailable` a 502 or 503: answers that another endpoint may better. */
  | {
      readonly outcome: "answered" | "overloaded" | "unavailable";
      readonly answer: EngineAnswer;
    }
  /** No connection came about; `why` is `timeout` if it took too long. */
  | { readonly outcome: "unreachable"; readonly why: "refused" | "timeout" }
  /** The connection broke before the answer's first byte; `hadHead` if its head had come. */
  | { readonly outcome: "broken"; readonly hadHead: boolean }
  | { readonly outcome: "timeout" | "off-list" | "cancelled" };

/** What one endpoint is sent. */
export interface AttemptLeg {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface AttemptRequest extends AttemptLeg {
  readonly path: string;
  /** Aborted when nobody wants the answer any more: the client has gone, or the leg was withdrawn. */
  readonly signal: AbortSignal;
  /** How long the head of a success waits for what is held with it. */
  readonly headHeldMsMax: number;
}

/** Never rejects. An `answer` belongs to the caller, who reads or destroys its body. */
export async function attempt(pool: EnginePool, request: AttemptRequest): Promise<Attempt> {
  const { signal, headHeldMsMax } = request;
  try {
    const answer = await ask(pool.dispatcher, request);
    pool.hasAnswered = true;
    if (answer.statusCode < 300 && !(await hasCome(answer, headHeldMsMax))) {
      return signal.aborted ? { outcome: "cancelled" } : { outcome: "broken", hadHead: true };
    }
    return { outcome: outcomeOf(answer.statusCode), answer };
  } catch (error) {
    if (signal.aborted) return { outcome: "cancelled" };
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (code === "UND_ERR_HEADERS_TIMEOUT") return { outcome: "timeout" };
    if (LEFT.has(code)) return { outcome: "off-list" };
    if (CONNECT_TIMEOUTS.has(code)) return { outcome: "unreachable", why: "timeout" };
    if (CONNECT_FAILURES.has(code) || TLS_FAILURE.test(code))
      return { outcome: "unreachable", why: "refused" };
    return { outcome: "broken", hadHead: false };
  }
}

/** Whether the answer is an event stream. */
export function isStream(answer: EngineAnswer): boolean {
  return (answer.headers["content-type"] ?? "").includes("text/event-stream");
}

/** Waits for what is held with the head, for a while, and leaves it unread. False: it will not come. */
function hasCome(answer: LiveAnswer, msMax: number): Promise<boolean> | boolean {
  const { body } = answer;
  if (isStream(answer)) return body.readableLength > 0 || hasBegun(body, msMax);
  // Where its length is not told, it goes on as it comes.
  const bytes = Math.min(Number(answer.headers["content-length"]) || 0, READ_BUFFER_BYTES);
  return body.readableLength >= bytes || isHere(body, bytes, msMax);
}

/** False if the body broke before `bytes` of it were here. */
async function isHere(body: EngineBody, bytes: number, msMax: number): Promise<boolean> {
  await body.untilHere(bytes, msMax);
  return !body.destroyed;
}

/**
 * Waits for a stream's first byte. False if the body ended before it, be
 * it broken or in good order: a stream without an event is no answer.
 */
async function hasBegun(body: EngineBody, msMax: number): Promise<boolean> {
  await body.untilHere(1, msMax);
  return body.readableLength > 0 || !(body.isWhole || body.destroyed);
}

function outcomeOf(status: number): "answered" | "overloaded" | "unavailable" {
  if (status === 429) return "overloaded";
  return status === 502 || status === 503 ? "unavailable" : "answered";
}

/** The pool was closed before the request began: its endpoint has left. */
const LEFT: ReadonlySet<string> = new Set(["UND_ERR_CLOSED", "UND_ERR_DESTROYED"]);

/** Failures of connecting: no byte of the request has left. */
const CONNECT_FAILURES: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
/** Either side did not believe the other's certificate, or they share no version. */
const TLS_FAILURE = /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_)|SELF_SIGNED_CERT/;
const CONNECT_TIMEOUTS: ReadonlySet<string> = new Set(["ETIMEDOUT", "UND_ERR_CONNECT_TIMEOUT"]);
