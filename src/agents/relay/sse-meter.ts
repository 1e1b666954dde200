// Watches an event stream on its way from engine to client: reads usage and finish reason, takes the usage
// out again where only the relay had asked for it, and says in it what a prefiller had cached.
//
// Works on whole events, so that its output is the same bytes under every chunking of the input, and
// so that an engine that dies inside an event leaves no half of one behind. Engines write whole
// events, so nothing waits in practice. An event longer than EVENT_BYTES_MAX is passed on unread.
// Lines end in LF or CRLF; no engine uses a lone CR.

import {
  scanTopLevel,
  spliceBytes,
  type JsonSpan,
  type JsonSpans,
} from "../protocol/json-spans.ts";
import { type CachedTokens, withCachedTokens } from "./disaggregation/cached-tokens.ts";
import { parseUsage, UNKNOWN_USAGE, type Usage } from "../protocol/answer-usage.ts";
import { lastFinishReason } from "./finish-reason.ts";

export const EVENT_BYTES_MAX = 1024 * 1024;

/** First byte of an event with a name; chats and completions have none. */
const NAMED = 0x65;
/** How the Messages and the Responses API end a stream. */
const LAST_EVENT = /^event: ?(?:message_stop|response\.(?:completed|incomplete|failed))\r?\n/;
const LAST_EVENT_BYTES_MAX = 64;

const LF = 0x0a;
const CR = 0x0d;
const SCAN_LIMITS = { depthMax: 256, keysMax: 256 };
const USAGE_KEY = Buffer.from('"usage"');
const ERROR_KEY = Buffer.from('"error"');
const DATA = Buffer.from("data:");
const NOTHING: Buffer = Buffer.alloc(0);

/** What is null says nothing. */
const SAID_FINISH_REASON = /"finish_reason"\s*:\s*"/;
const SAID_USAGE = /"usage"(?!\s*:\s*null\b)/;

export class SseMeter {
  readonly #isUsageAdded: boolean;
  readonly #cached: CachedTokens | undefined;
  /** The beginning of an event whose end has not come. */
  #rest: Buffer = NOTHING;
  /** Place in `#rest` up to which no event can end. */
  #searchedTo = 0;
  /** The current event is too long to hold and is passed on as it comes. */
  #isOversized = false;
  #usage: Usage = UNKNOWN_USAGE;
  #finishReason: string | null = null;
  #isDone = false;
  #hasError = false;

  /**
   * `isUsageAdded`: the client did not ask for usage, so it must not see any. `cached`: the prefiller's,
   * to stand in place of the decoder's.
   */
  constructor(isUsageAdded: boolean, cached?: CachedTokens) {
    this.#isUsageAdded = isUsageAdded;
    this.#cached = cached;
  }

  get usage(): Usage {
    return this.#usage;
  }

  get finishReason(): string | null {
    return this.#finishReason;
  }

  /** The stream has said all it wants to say: `[DONE]`, a finish reason, or the API's last event. */
  get isComplete(): boolean {
    return this.#isDone || this.#finishReason !== null;
  }

  /** The engine reported an error inside the stream. */
  get hasError(): boolean {
    return this.#hasError;
  }

  /** An event was begun on the wire and must be closed before another can follow. */
  get isInsideEvent(): boolean {
    return this.#isOversized;
  }

  /** Takes the next bytes from the engine; gives the bytes for the client, often the same. */
  push(chunk: Buffer): Buffer {
    if (this.#rest.byteLength === 0 && !this.#isOversized && this.#isPlain(chunk)) return chunk;
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const out: Uint8Array[] = [];
    let start = 0;
    for (;;) {
      const end = eventEnd(bytes, Math.max(start, this.#searchedTo));
      if (end === -1) break;
      const event = bytes.subarray(start, end);
      out.push(this.#isOversized ? event : this.#readEvent(event));
      this.#isOversized = false;
      this.#searchedTo = 0;
      start = end;
    }
    this.#keepRest(bytes.subarray(start), out);
    return out.length === 1 ? asBuffer(out[0]!) : Buffer.concat(out);
  }

  /** The engine has ended; gives what came after the last event. */
  end(): Buffer {
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (rest.byteLength === 0 || this.#isOversized) return rest;
    return asBuffer(this.#readEvent(rest));
  }

  /**
   * Whether `chunk` is whole events that say nothing to be read here and go on as they are: most of a stream.
   * One search in a string costs a fraction of those in bytes.
   */
  #isPlain(chunk: Buffer): boolean {
    const text = chunk.toString("latin1");
    if (!text.endsWith("\n\n") || text.includes("event:") || text.includes("[DONE]")) return false;
    if (text.includes('"error"') || SAID_FINISH_REASON.test(text)) return false;
    return !text.includes('"usage"') || (!this.#isUsageAdded && !SAID_USAGE.test(text));
  }

  #keepRest(rest: Buffer, out: Uint8Array[]): void {
    if (rest.byteLength > EVENT_BYTES_MAX) this.#isOversized = true;
    // Of an event already begun, only what may be part of its end is kept.
    const keep = this.#isOversized ? Math.min(rest.byteLength, 2) : rest.byteLength;
    if (keep < rest.byteLength) out.push(rest.subarray(0, rest.byteLength - keep));
    // A copy: the chunk belongs to the socket's pool and may be large.
    this.#rest = keep === 0 ? NOTHING : Buffer.from(rest.subarray(rest.byteLength - keep));
    this.#searchedTo = Math.max(0, this.#rest.byteLength - 2);
  }

  /** Reads one event and gives what is left of it for the client. */
  #readEvent(event: Buffer): Uint8Array {
    const finishReason = lastFinishReason(event);
    if (finishReason !== undefined) this.#finishReason = finishReason;
    if (event[0] === NAMED && LAST_EVENT.test(event.toString("latin1", 0, LAST_EVENT_BYTES_MAX))) {
      this.#isDone = true;
    }
    const data = dataOf(event);
    if (data === undefined) return event;
    if (data.byteLength === 6 && data.toString("latin1") === "[DONE]") {
      this.#isDone = true;
      return event;
    }
    if (!event.includes(USAGE_KEY) && !event.includes(ERROR_KEY)) return event;
    const scan = scanTopLevel(data, SCAN_LIMITS);
    if (!scan.ok) return event;
    if (scan.spans.has("error") && valueOf(data, scan, "error") !== "null") this.#hasError = true;
    const span = usageSpan(data, scan);
    if (span === undefined) return event;
    const usage = data.toString("utf8", span.valueStart, span.valueEnd);
    this.#usage = together(this.#usage, parseUsage(usage));
    if (!this.#isUsageAdded) return this.#withCachedTokens(event, data, span);
    const choices = valueOf(data, scan, "choices")?.replaceAll(/\s/g, "");
    if (usage !== "null" && choices === "[]") return NOTHING;
    return scan.spans.has("usage") ? withoutUsage(event, data, scan) : event;
  }

  #withCachedTokens(event: Buffer, data: Buffer, { valueStart, valueEnd }: JsonSpan): Uint8Array {
    if (this.#cached === undefined) return event;
    const bytes = withCachedTokens(data.subarray(valueStart, valueEnd), this.#cached);
    if (bytes === undefined) return event;
    const at = data.byteOffset - event.byteOffset;
    return spliceBytes(event, [{ start: at + valueStart, end: at + valueEnd, bytes }]);
  }
}

/** Usage is the event's own, or that of the whole answer which some events of Responses and Messages repeat. */
function usageSpan(data: Buffer, scan: JsonSpans): JsonSpan | undefined {
  const own = scan.spans.get("usage");
  const answer = scan.spans.get("response") ?? scan.spans.get("message");
  if (own !== undefined || answer === undefined) return own;
  const at = answer.valueStart;
  const inside = scanTopLevel(data.subarray(at, answer.valueEnd), SCAN_LIMITS);
  const span = inside.ok ? inside.spans.get("usage") : undefined;
  if (span === undefined) return undefined;
  const { keyStart, valueStart, valueEnd } = span;
  return { keyStart: at + keyStart, valueStart: at + valueStart, valueEnd: at + valueEnd };
}

/** Messages' streams count the prompt first and the answer last; else the last word counts. */
function together(before: Usage, now: Usage | undefined): Usage {
  if (now === undefined || now.promptTokens !== null) return now ?? before;
  return { ...before, completionTokens: now.completionTokens };
}

/** Takes the member out of an event that has more to say: some engines put it into every chunk. */
function withoutUsage(event: Buffer, data: Buffer, scan: JsonSpans): Uint8Array {
  const span = scan.spans.get("usage")!;
  const keys = [...scan.spans.values()];
  const index = keys.indexOf(span);
  const before = keys[index - 1];
  const after = keys[index + 1];
  // The separator goes with the member: the one before it, or the one behind if it is the first.
  const start = before?.valueEnd ?? span.keyStart;
  const end = before === undefined && after !== undefined ? after.keyStart : span.valueEnd;
  const at = data.byteOffset - event.byteOffset;
  return spliceBytes(event, [{ start: at + start, end: at + end, bytes: NOTHING }]);
}

function valueOf(data: Buffer, scan: JsonSpans, key: string): string | undefined {
  const span = scan.spans.get(key);
  return span === undefined ? undefined : data.toString("utf8", span.valueStart, span.valueEnd);
}

/** One past the empty line that ends an event, looked for from `from`; -1 if there is none. */
function eventEnd(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

/** The payload of an event that has exactly one data line, as all events of engines have. */
function dataOf(event: Buffer): Buffer | undefined {
  const first = lineStart(event, 0);
  if (first === -1 || lineStart(event, first + 1) !== -1) return undefined;
  let start = first + DATA.byteLength;
  if (event[start] === 0x20) start += 1;
  const lf = event.indexOf(LF, start);
  let end = lf === -1 ? event.byteLength : lf;
  if (event[end - 1] === CR) end -= 1;
  return event.subarray(start, end);
}

/** Start of the first line from `from` on that begins with `data:`, or -1. */
function lineStart(event: Buffer, from: number): number {
  for (let at = event.indexOf(DATA, from); at !== -1; at = event.indexOf(DATA, at + 1)) {
    if (at === 0 || event[at - 1] === LF) return at;
  }
  return -1;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
