// Walks the ordered endpoints until one answers. Everything here is before the first byte of an
// answer: once a client has seen a byte, nothing is tried again.
//
//   unreachable (refused, unknown host, connect timeout)  → next: nothing was sent
//   broken (reset, closed, garbage instead of a head)     → the same once more, if the connection
//                                                           may just have been a dead idle one;
//                                                           then next, for bodies up to 1 MiB
//   429                                                   → next: the engine is full, not ill
//   502, 503                                              → next
//   no head in time                                       → give up: it was working on it
//   any other status                                      → the answer

import type { EngineAnswer, EnginePool, EnginePools } from "./engine-pools.ts";

/**
 * After a broken connection, a larger body is not sent again: it costs the most, and may be what
 * broke it.
 */
export const RETRY_BODY_BYTES_MAX = 1024 * 1024;
/** Of an answer that was passed over, in case no later endpoint answers at all. */
const KEPT_ANSWER_BYTES_MAX = 64 * 1024;
/** A refusal is short; nobody waits for one that dribbles. */
const KEPT_ANSWER_MS_MAX = 1_000;

/** How an attempt at one endpoint went; also a metric label. */
type AttemptOutcome =
  | "answered"
  | "unreachable"
  | "broken"
  | "timeout"
  | "overloaded"
  | "unavailable"
  | "off-list"
  | "cancelled";

/** An answer that was passed over, whole. */
export interface KeptAnswer {
  readonly endpoint: string;
  readonly status: number;
  readonly headers: EngineAnswer["headers"];
  readonly body: Buffer;
}

export interface Walk {
  /** The endpoint that answered, or was tried last. */
  readonly endpoint: string;
  /** Endpoints that were tried and failed before it, in order. */
  readonly failed: readonly string[];
  readonly result:
    | { readonly kind: "answered"; readonly answer: EngineAnswer }
    /** Nobody answered; `kept` is the last engine's own refusal, if there was one. */
    | { readonly kind: "exhausted"; readonly kept: KeptAnswer | undefined }
    | { readonly kind: "timeout" }
    | { readonly kind: "cancelled" };
}

export interface WalkRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly destinations: readonly string[];
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** Told before each endpoint that is tried. */
  onTry(endpoint: string): void;
  onAttempt(outcome: AttemptOutcome): void;
}

type Attempt =
  | { readonly outcome: "answered"; readonly answer: EngineAnswer }
  | { readonly outcome: "unreachable" | "broken" | "timeout" | "cancelled" };

/** Tries the destinations in order. Never rejects. */
export async function walk(pools: EnginePools, request: WalkRequest): Promise<Walk> {
  const failed: string[] = [];
  let kept: KeptAnswer | undefined;
  let last = request.destinations[0]!;
  for (const [index, endpoint] of request.destinations.entries()) {
    const pool = pools.get(endpoint);
    if (pool === undefined) {
      // It left while the request was on its way here.
      request.onAttempt("off-list");
      continue;
    }
    last = endpoint;
    request.onTry(endpoint);
    const attempt = await attemptWithRetry(pool, request);
    const isLast = index === request.destinations.length - 1;
    if (attempt.outcome === "answered") {
      const overload = overloadOf(attempt.answer.statusCode);
      request.onAttempt(overload ?? "answered");
      if (overload === undefined || isLast) {
        return { endpoint, failed, result: { kind: "answered", answer: attempt.answer } };
      }
      kept = (await keep(endpoint, attempt.answer)) ?? kept;
    } else {
      request.onAttempt(attempt.outcome);
      if (attempt.outcome === "cancelled")
        return { endpoint, failed, result: { kind: "cancelled" } };
      if (attempt.outcome === "timeout") return { endpoint, failed, result: { kind: "timeout" } };
    }
    failed.push(endpoint);
    const isResendable = request.body.byteLength <= RETRY_BODY_BYTES_MAX;
    if (attempt.outcome === "broken" && !isResendable) break;
  }
  const endpoint = kept?.endpoint ?? last;
  const others = failed.filter((address) => address !== endpoint);
  return { endpoint, failed: others, result: { kind: "exhausted", kept } };
}

function overloadOf(status: number): "overloaded" | "unavailable" | undefined {
  if (status === 429) return "overloaded";
  return status === 502 || status === 503 ? "unavailable" : undefined;
}

async function attemptWithRetry(pool: EnginePool, request: WalkRequest): Promise<Attempt> {
  const mayBeStale = pool.hasAnswered && request.body.byteLength <= RETRY_BODY_BYTES_MAX;
  const first = await attemptOnce(pool, request);
  return first.outcome === "broken" && mayBeStale ? attemptOnce(pool, request) : first;
}

async function attemptOnce(pool: EnginePool, request: WalkRequest): Promise<Attempt> {
  try {
    const answer = await pool.dispatcher.request({
      method: "POST",
      path: request.path,
      headers: request.headers,
      body: request.body,
      signal: request.signal,
    });
    pool.hasAnswered = true;
    return { outcome: "answered", answer };
  } catch (error) {
    if (request.signal.aborted) return { outcome: "cancelled" };
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (code === "UND_ERR_HEADERS_TIMEOUT") return { outcome: "timeout" };
    return { outcome: NEVER_SENT.has(code) ? "unreachable" : "broken" };
  }
}

/** Failures of connecting: no byte of the request has left. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_CLOSED",
  "UND_ERR_DESTROYED",
]);

/** Reads an answer that is passed over; undefined if it is too long to keep or breaks off. */
async function keep(endpoint: string, answer: EngineAnswer): Promise<KeptAnswer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  const overdue = setTimeout(() => answer.body.destroy(new Error("overdue")), KEPT_ANSWER_MS_MAX);
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > KEPT_ANSWER_BYTES_MAX) return undefined;
      chunks.push(chunk);
    }
  } catch {
    // The engine broke off or took too long, or the client has gone.
    return undefined;
  } finally {
    clearTimeout(overdue);
  }
  const { statusCode: status, headers } = answer;
  return { endpoint, status, headers, body: Buffer.concat(chunks) };
}
