// Carries an engine's answer to the client: head by allow-list, body with back-pressure, and an
// honest end. A stream that breaks after its first byte ends with an error event and without
// [DONE]; an answer that is not a stream is cut off, so that nobody takes it for whole.

import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { DESTINATION_SERVED_HEADER } from "../protocol/headers.ts";
import { isStream } from "./attempt.ts";
import { type CachedTokens, CachedTokensWriter } from "./disaggregation/cached-tokens.ts";
import type { EngineAnswer } from "./engine-pools.ts";
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
export async function forwardAnswer(
  answer: EngineAnswer,
  response: ServerResponse,
  request: ForwardRequest,
): Promise<Forwarded> {
  if (isStream(answer)) {
    writeHead(response, answer.statusCode, answer.headers, request.endpoint);
    return forwardStream(answer, response, request);
  }
  if (request.names === undefined && request.cachedTokens === undefined) {
    announceLength(response, answer);
  }
  writeHead(response, answer.statusCode, answer.headers, request.endpoint);
  return forwardWhole(answer, response, request);
}

/** Sends an answer that was kept while other endpoints were tried. */
export function sendKept(
  kept: KeptAnswer,
  response: ServerResponse,
  names: ModelNames | undefined,
): void {
  writeHead(response, kept.status, kept.headers, kept.endpoint);
  response.end(lastOf(kept.body, readable(names, kept.headers)));
}

/** Undefined where the answer is compressed: nothing was asked to be, and nothing can be read in it. */
function readable<T>(how: T | undefined, headers: IncomingHttpHeaders): T | undefined {
  return (headers["content-encoding"] ?? "identity") === "identity" ? how : undefined;
}

/** `bytes` for the client, and with them what was held back before. */
function lastOf(bytes: Buffer, names: ModelNames | undefined): Buffer {
  return names === undefined ? bytes : Buffer.concat([names.push(bytes), names.end()]);
}

function writeHead(
  response: ServerResponse,
  status: number,
  engineHeaders: IncomingHttpHeaders,
  endpoint: string,
): void {
  for (const name of ANSWER_HEADERS) {
    const value = engineHeaders[name];
    if (value !== undefined) response.setHeader(name, value);
  }
  response.setHeader(DESTINATION_SERVED_HEADER, endpoint);
  response.writeHead(status);
}

/**
 * Says how long an answer is that goes on as it comes. Otherwise it would go in chunks, whose last one is a
 * write of its own.
 */
function announceLength(response: ServerResponse, answer: EngineAnswer): void {
  const length = answer.headers["content-length"];
  if (length !== undefined) response.setHeader("content-length", length);
}

async function forwardStream(
  answer: EngineAnswer,
  response: ServerResponse,
  request: ForwardRequest,
): Promise<Forwarded> {
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
  const pumped = await pump(answer, response, {
    ...request,
    onChunk(chunk) {
      request.onEngineBytes?.(chunk);
      meter.push(chunk);
      const counted = counts === undefined ? chunk : counts.push(chunk);
      return names === undefined ? counted : names.push(counted);
    },
  });
  if (pumped === "cancelled") return { outcome: "cancelled", ...facts() };
  if (pumped === "broken") {
    response.destroy();
    return { outcome: "broken-stream", ...facts() };
  }
  response.end(lastOf(counts?.end() ?? NOTHING, names));
  return { outcome: answer.statusCode >= 400 ? "engine-error" : "ok", ...facts() };
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
