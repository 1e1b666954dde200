// Where the top-level members of a JSON object stand in its UTF-8 bytes, so that a body can be
// edited by splices and otherwise forwarded byte for byte. Worker and relay use it.
//
//   {"model":"m","stream":true}
//   │ │      │  │
//   │ │      │  └ valueEnd (exclusive)
//   │ │      └ valueStart
//   │ └ keyStart (at the quote)
//   └ openAt
//
// The spans are right for every JSON text. The scanner checks what spans depend on (brackets,
// strings, separators between top-level members) and no more: it accepts some texts that are not
// JSON, such as {"a":01}, so it does not replace a parser where validity matters. Strings are
// skipped with indexOf, so a long prompt costs little.

export interface JsonScanLimits {
  /** Objects and arrays inside one another, the outermost included. */
  readonly depthMax: number;
  /** Top-level members. */
  readonly keysMax: number;
}

/** Bytes of one top-level key, quotes included: keys are decoded, and none of an API is this long. */
export const JSON_KEY_BYTES_MAX = 1_024;

/** Byte offsets of one member. */
export interface JsonSpan {
  /** At the opening quote of the key. */
  readonly keyStart: number;
  readonly valueStart: number;
  /** Exclusive. */
  readonly valueEnd: number;
}

type JsonScanErrorCode =
  | "not-an-object"
  | "malformed"
  | "too-deep"
  | "too-many-keys"
  | "key-too-long"
  | "duplicate-key";

interface JsonScanError {
  readonly code: JsonScanErrorCode;
  /** Byte offset of the trouble. */
  readonly at: number;
  /** The key that stands twice; "" for every other code. */
  readonly key: string;
}

export interface JsonSpans {
  readonly ok: true;
  /** By unescaped key, in the order of the text: `"\u0061"` and `"a"` are the same key. */
  readonly spans: ReadonlyMap<string, JsonSpan>;
  /** Offset of the opening brace. */
  readonly openAt: number;
}

export type JsonScan = JsonSpans | { readonly ok: false; readonly error: JsonScanError };

/** Replaces `[start, end)` by `bytes`; an insertion has start == end. */
export interface ByteEdit {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;
const COMMA = 0x2c;

/** Finds the members of the object in `bytes`. Never throws. */
export function scanTopLevel(bytes: Uint8Array, limits: JsonScanLimits): JsonScan {
  const openAt = skipSpace(bytes, 0);
  if (bytes[openAt] !== OPEN_BRACE) return failed("not-an-object", openAt);
  if (limits.depthMax < 1) return failed("too-deep", openAt);
  const spans = new Map<string, JsonSpan>();
  let at = skipSpace(bytes, openAt + 1);
  if (bytes[at] === CLOSE_BRACE) return closed(bytes, at, { ok: true, spans, openAt });
  for (;;) {
    const keyStart = at;
    const keyEnd = bytes[at] === QUOTE ? stringEnd(bytes, at) : -1;
    if (keyEnd - keyStart > JSON_KEY_BYTES_MAX) return failed("key-too-long", keyStart);
    const key = keyEnd === -1 ? undefined : decodeString(bytes, keyStart, keyEnd);
    if (key === undefined) return failed("malformed", keyStart);
    at = skipSpace(bytes, keyEnd);
    if (bytes[at] !== COLON) return failed("malformed", at);
    const valueStart = skipSpace(bytes, at + 1);
    const value = scanValue(bytes, valueStart, limits.depthMax - 1);
    if (!value.ok) return value;
    if (spans.has(key)) return failed("duplicate-key", keyStart, key);
    if (spans.size >= limits.keysMax) return failed("too-many-keys", keyStart);
    spans.set(key, { keyStart, valueStart, valueEnd: value.end });
    at = skipSpace(bytes, value.end);
    if (bytes[at] === CLOSE_BRACE) return closed(bytes, at, { ok: true, spans, openAt });
    if (bytes[at] !== COMMA) return failed("malformed", at);
    at = skipSpace(bytes, at + 1);
  }
}

/**
 * Byte ranges of the elements of the array in `bytes`, in order. Undefined if it is none that can be
 * scanned, or has more than `elementsMax`. Never throws.
 */
export function scanElements(
  bytes: Uint8Array,
  limits: { readonly depthMax: number; readonly elementsMax: number },
): { readonly start: number; readonly end: number }[] | undefined {
  const openAt = skipSpace(bytes, 0);
  if (bytes[openAt] !== OPEN_BRACKET) return undefined;
  const elements: { start: number; end: number }[] = [];
  let at = skipSpace(bytes, openAt + 1);
  if (bytes[at] === CLOSE_BRACKET) return isAtEnd(bytes, at + 1) ? elements : undefined;
  for (;;) {
    const value = scanValue(bytes, at, limits.depthMax - 1);
    if (!value.ok || elements.length >= limits.elementsMax) return undefined;
    elements.push({ start: at, end: value.end });
    at = skipSpace(bytes, value.end);
    if (bytes[at] === CLOSE_BRACKET) return isAtEnd(bytes, at + 1) ? elements : undefined;
    if (bytes[at] !== COMMA) return undefined;
    at = skipSpace(bytes, at + 1);
  }
}

/** The edit that adds `member` (UTF-8, `"key":value`) as the first member of a scanned object. */
export function insertMember(scan: JsonSpans, member: Uint8Array): ByteEdit {
  const bytes = new Uint8Array(member.byteLength + (scan.spans.size === 0 ? 0 : 1));
  bytes.set(member);
  if (scan.spans.size > 0) bytes[member.byteLength] = COMMA;
  return { start: scan.openAt + 1, end: scan.openAt + 1, bytes };
}

/**
 * A copy of `bytes` with the edits made. Edits stand in ascending order and do not overlap; several
 * insertions at one place keep their order.
 */
export function spliceBytes(
  bytes: Uint8Array,
  edits: readonly ByteEdit[],
): Uint8Array<ArrayBuffer> {
  let size = bytes.byteLength;
  let from = 0;
  for (const edit of edits) {
    if (edit.start < from || edit.end < edit.start || edit.end > bytes.byteLength) {
      throw new RangeError("invariant broken: edits overlap, are unordered or lie outside");
    }
    size += edit.bytes.byteLength - (edit.end - edit.start);
    from = edit.end;
  }
  const out = new Uint8Array(size);
  let at = 0;
  from = 0;
  for (const edit of edits) {
    out.set(bytes.subarray(from, edit.start), at);
    at += edit.start - from;
    out.set(edit.bytes, at);
    at += edit.bytes.byteLength;
    from = edit.end;
  }
  out.set(bytes.subarray(from), at);
  return out;
}

function failed(code: JsonScanErrorCode, at: number, key = ""): JsonScan & { ok: false } {
  return { ok: false, error: { code, at, key } };
}

/** Accepts `scan` if only space follows the closing brace at `at`. */
function closed(bytes: Uint8Array, at: number, scan: JsonSpans): JsonScan {
  const end = skipSpace(bytes, at + 1);
  return end === bytes.byteLength ? scan : failed("malformed", end);
}

function isAtEnd(bytes: Uint8Array, at: number): boolean {
  return skipSpace(bytes, at) === bytes.byteLength;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (; at < bytes.byteLength; at++) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
  }
  return at;
}

/** One past the closing quote of the string whose opening quote is at `start`; -1 if unclosed. */
function stringEnd(bytes: Uint8Array, start: number): number {
  for (let from = start + 1; ;) {
    const quote = bytes.indexOf(QUOTE, from);
    if (quote === -1) return -1;
    // The quote is escaped if an odd number of backslashes stands before it.
    let run = quote;
    while (run > from && bytes[run - 1] === BACKSLASH) run--;
    if ((quote - run) % 2 === 0) return quote + 1;
    from = quote + 1;
  }
}

type ValueScan = { readonly ok: true; readonly end: number } | (JsonScan & { ok: false });

/** Finds the end of the value at `start`, in which at most `depthMax` brackets are nested. */
function scanValue(bytes: Uint8Array, start: number, depthMax: number): ValueScan {
  const first = bytes[start];
  if (first === QUOTE) {
    const end = stringEnd(bytes, start);
    return end === -1 ? failed("malformed", start) : { ok: true, end };
  }
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return scanNested(bytes, start, depthMax);
  const end = literalEnd(bytes, start);
  return end === start ? failed("malformed", start) : { ok: true, end };
}

function scanNested(bytes: Uint8Array, start: number, depthMax: number): ValueScan {
  // The closing bracket that each open level waits for.
  const closers: number[] = [];
  for (let at = start; at < bytes.byteLength; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const end = stringEnd(bytes, at);
      if (end === -1) return failed("malformed", at);
      at = end - 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (closers.length >= depthMax) return failed("too-deep", at);
      closers.push(byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET);
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (closers.pop() !== byte) return failed("malformed", at);
      if (closers.length === 0) return { ok: true, end: at + 1 };
    }
  }
  return failed("malformed", bytes.byteLength);
}

/** End of a number, true, false or null: the first byte that cannot be part of one. */
function literalEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  for (; at < bytes.byteLength; at++) {
    const byte = bytes[at]!;
    const isLetter = (byte >= 0x61 && byte <= 0x7a) || byte === 0x45;
    const isNumeric = (byte >= 0x30 && byte <= 0x39) || byte === 0x2b || byte === 0x2d;
    if (!isLetter && !isNumeric && byte !== 0x2e) break;
  }
  return at;
}

/** The text of the JSON string in `[start, end)`, quotes included; undefined if it is none. */
function decodeString(bytes: Uint8Array, start: number, end: number): string | undefined {
  return plainText(bytes, start + 1, end - 1) ?? decodeAny(bytes, start, end);
}

/** Text that stands for itself, as every key of an API does; undefined for any other. */
function plainText(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte < 0x20 || byte >= 0x7f || byte === BACKSLASH) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

function decodeAny(bytes: Uint8Array, start: number, end: number): string | undefined {
  // Percent-encoding is the one UTF-8 decoder of the language itself; TextDecoder is a platform's.
  let escaped = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    escaped +=
      byte < 0x80 && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, "0")}`;
  }
  try {
    return JSON.parse(decodeURIComponent(escaped)) as string;
  } catch {
    // Invalid UTF-8 (URIError), or a control character or unknown escape (SyntaxError).
    return undefined;
  }
}
