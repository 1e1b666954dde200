// Carries an engine's answer to the client: head by allow-list, body with back-pressure, and an
// honest end. A stream that breaks after its first byte ends with an error event and without
// [DONE]; an answer that is not a stream is cut off, so that nobody takes it for whole.

import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { DESTINATION_SERVED_HEADER, FAIRLEAD_ATTEMPTS_HEADER } from "../protocol/headers.ts";
import { isStream } from "./attempt.ts";
import { type CachedTokens, CachedTokensWriter } from "./disaggregation/cached-tokens.ts";
import { EngineBody, type EngineAnswer } from "./engine-answer.ts";
import { JsonMeter } from "./json-meter.ts";
import type { ModelNames } from "./model-names.ts";
import { SseMeter } from "./sse-meter.ts";
import type { Usage } from "../protocol/answer-usage.ts";
import type { KeptAnswer } from "./kept-answer.ts";

/** How long a client may leave its socket full before the request counts as abandoned. */
const CLIENT_STALL_MS_MAX = 300_000;

const NOTHING: Buffer = Buffer.alloc(0);

const ANSWER_HEADERS = [
  "content-type",
  "content-encoding",
  "cache-control",
  "retry-after",
  "retry-after-ms",
] as const;

export interface ForwardRequest {
  readonly endpoint: string;
  /** Endpoints that were tried, the last one included; absent: the client is not told. */
  readonly triedCount?: number | undefined;
  readonly isUsageAdded: boolean;
  /** Where the answer names the model otherwise than the client does. */
  readonly names: ModelNames | undefined;
  /** Of the prefiller, where it handed over to `endpoint`: they take the place of the decoder's. */
  readonly cachedTokens: CachedTokens | undefined;
  readonly requestId: string;
  /** Aborted when the client has gone, or the relay stops. */
  readonly signal: AbortSignal;
  onFirstByte(): void;
  /** Gets the answer as the engine sent it, after `onFirstByte`. It may keep what it gets. */
  onEngineBytes?(chunk: Buffer): void;
}

export interface Forwarded {
  readonly outcome: "ok" | "engine-error" | "cancelled" | "broken-stream";
  readonly usage: Usage;
  readonly finishReason: string | null;
}

/** Sends `answer` on. Never rejects; the response is ended or destroyed when it resolves. */
export function forwardAnswer(
  answer: EngineAnswer,
  response: ServerResponse,
  request: ForwardRequest,
): Promise<Forwarded> {
  return (isStream(answer) ? forwardStream : forwardWhole)(answer, response, request);
}

/** Sends an answer that was kept while other endpoints were tried. */
export function sendKept(
  { status: statusCode, headers, body, endpoint }: KeptAnswer,
  response: ServerResponse,
  { names, triedCount }: Pick<ForwardRequest, "names" | "triedCount">,
): void {
  const bytes = lastOf(body, readable(names, headers));
  sendWhole({ statusCode, headers }, response, { endpoint, triedCount, bytes });
}

/** Undefined where the answer is compressed: nothing was asked to be, and nothing can be read in it. */
function readable<T>(how: T | undefined, headers: IncomingHttpHeaders): T | undefined {
  return (headers["content-encoding"] ?? "identity") === "identity" ? how : undefined;
}

/** `bytes` for the client, and with them what was held back before. */
function lastOf(bytes: Buffer, names: ModelNames | undefined): Buffer {
  return names === undefined ? bytes : Buffer.concat([names.push(bytes), names.end()]);
}

type Head = Pick<EngineAnswer, "statusCode" | "headers">;

interface HeadFacts {
  readonly endpoint: string;
  readonly triedCount?: number | undefined;
  /** Of the body, where it is known. Otherwise it goes in chunks, whose last one is a write of its own. */
  readonly length?: string | number | undefined;
}

/** Names and values in turn: they go on as they are, while headers that are set one by one are sorted in. */
function writeHead(
  response: ServerResponse,
  { statusCode, headers }: Head,
  facts: HeadFacts,
): void {
  const { endpoint, triedCount, length } = facts;
  const written: (string | string[])[] = [DESTINATION_SERVED_HEADER, endpoint];
  if (triedCount !== undefined) written.push(FAIRLEAD_ATTEMPTS_HEADER, String(triedCount));
  for (const name of ANSWER_HEADERS) {
    const value = headers[name];
    if (value !== undefined) written.push(name, value);
  }
  if (length !== undefined) written.push("content-length", String(length));
  response.writeHead(statusCode, written);
}

/** Sends head and body in one write. As a string the body is joined to the head, else it would be a part of its own. */
function sendWhole(
  head: Head,
  response: ServerResponse,
  { bytes, ...facts }: Omit<HeadFacts, "length"> & { readonly bytes: Buffer },
): void {
  writeHead(response, head, { ...facts, length: bytes.byteLength });
  response.end(bytes.toString("latin1"), "latin1");
}

async function forwardStream(
  answer: EngineAnswer,
  response: ServerResponse,
  request: ForwardRequest,
): Promise<Forwarded> {
  writeHead(response, answer, request);
  // The first byte may still be long in coming: the client can show that something happens. Otherwise both
  // leave in one write.
  if (answer.body.readableLength === 0) response.flushHeaders();
  const cachedTokens = readable(request.cachedTokens, answer.headers);
  const meter = new SseMeter(request.isUsageAdded, cachedTokens);
  const names = readable(request.names, answer.headers);
  const facts = () => factsOf(meter, request.cachedTokens);
  const pumped = await pump(answer, response, {
    ...request,
    onChunk(chunk) {
      request.onEngineBytes?.(chunk);
      const events = meter.push(chunk);
      return names === undefined ? events : names.push(events);
    },
  });
  if (pumped === "cancelled") return { outcome: "cancelled", ...facts() };
  // Read before the verdict: the last event may lack its empty line.
  const rest = pumped === "ended" ? lastOf(meter.end(), names) : "";
  if (pumped === "broken" || !meter.isComplete) {
    response.end(`${meter.isInsideEvent ? "\n\n" : ""}${lostEvent(request.requestId)}`);
    return { outcome: "broken-stream", ...facts() };
  }
  response.end(rest);
  const isError = meter.hasError || answer.statusCode >= 400;
  return { outcome: isError ? "engine-error" : "ok", ...facts() };
}

function lostEvent(requestId: string): string {
  const error = {
    message: "The engine stopped before the answer was complete.",
    type: "server_error",
    param: null,
    code: "engine_lost",
    request_id: requestId,
  };
  return `data: ${JSON.stringify({ error })}\n\n`;
}

async function forwardWhole(
  answer: EngineAnswer,
  response: ServerResponse,
  request: ForwardRequest,
): Promise<Forwarded> {
  const meter = new JsonMeter();
  const names = readable(request.names, answer.headers);
  const cachedTokens = readable(request.cachedTokens, answer.headers);
  const counts = cachedTokens === undefined ? undefined : new CachedTokensWriter(cachedTokens);
  const facts = () => factsOf(meter, request.cachedTokens);
  const onChunk = (chunk: Buffer) => {
    request.onEngineBytes?.(chunk);
    meter.push(chunk);
    const counted = counts === undefined ? chunk : counts.push(chunk);
    return names === undefined ? counted : names.push(counted);
  };
  const rest = () => lastOf(counts?.end() ?? NOTHING, names);
  const outcome = answer.statusCode >= 400 ? "engine-error" : "ok";
  const whole = answer.body instanceof EngineBody ? answer.body.takeWhole() : undefined;
  if (whole !== undefined && !response.destroyed) {
    if (whole.byteLength > 0) request.onFirstByte();
    const begun = onChunk(whole);
    const last = rest();
    const bytes = last.byteLength === 0 ? begun : Buffer.concat([begun, last]);
    sendWhole(answer, response, { ...request, bytes });
    return { outcome, ...facts() };
  }
  const isAsItCame = request.names === undefined && request.cachedTokens === undefined;
  const length = isAsItCame ? answer.headers["content-length"] : undefined;
  writeHead(response, answer, { ...request, length });
  const pumped = await pump(answer, response, { ...request, onChunk });
  if (pumped === "cancelled") return { outcome: "cancelled", ...facts() };
  if (pumped === "broken") {
    response.destroy();
    return { outcome: "broken-stream", ...facts() };
  }
  response.end(rest());
  return { outcome, ...facts() };
}

/** What was read of an answer; of a split prompt, the prefiller knows what was cached. */
function factsOf(
  { usage, finishReason }: SseMeter | JsonMeter,
  cached: CachedTokens | undefined,
): Omit<Forwarded, "outcome"> {
  const isSplit = cached !== undefined && usage.promptTokens !== null;
  return { usage: isSplit ? { ...usage, cachedTokens: cached.count } : usage, finishReason };
}

interface PumpRequest {
  onFirstByte(): void;
  /** Gives the bytes to send for a chunk. */
  onChunk(chunk: Buffer): Buffer;
}

type Pumped = "ended" | "broken" | "cancelled";

/**
 * Copies the body at the client's pace. By listeners, since an iterator makes promises for each chunk. A body
 * that is aborted breaks, also while the client has yet to read: whoever holds the signal of its request
 * aborts it when the client has gone.
 */
function pump(
  { body }: EngineAnswer,
  response: ServerResponse,
  request: PumpRequest,
): Promise<Pumped> {
  let isFirst = true;
  let stalled: NodeJS.Timeout | undefined;
  const goOn = () => {
    clearTimeout(stalled);
    body.resume();
  };
  const take = (chunk: Buffer) => {
    if (isFirst) request.onFirstByte();
    isFirst = false;
    const out = request.onChunk(chunk);
    if (out.byteLength === 0 || response.write(out)) return;
    body.pause();
    // Destroying a response that nobody reads aborts the signal of its request.
    stalled = setTimeout(() => response.destroy(), CLIENT_STALL_MS_MAX);
    response.once("drain", goOn);
  };
  return new Promise((resolve) => {
    const settle = (pumped: Pumped) => {
      clearTimeout(stalled);
      response.off("drain", goOn);
      resolve(response.destroyed ? "cancelled" : pumped);
    };
    const end = () => settle("ended");
    // The engine was lost, the client has gone or stalled, or the relay is stopping.
    const lose = () => settle("broken");
    // An error of a body that was destroyed before now has passed.
    if (body.destroyed) return lose();
    body.on("end", end).on("error", lose).on("close", lose).on("data", take);
  });
}
