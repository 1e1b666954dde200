// Edits members of a JSON object in its own bytes. What is not named stays as the client or the engine
// wrote it: unknown keys, numbers past 2^53, 1.0 beside 1, spaces and the order of members.
//
//   { stream: "false", stream_options: undefined, sampling_params: { max_tokens: "1" } }
//     set                removed                  members of an object inside
//
// A new member stands first. An object that is to be edited inside and is missing or null is created.

import {
  scanTopLevel,
  spliceBytes,
  type ByteEdit,
  type JsonSpan,
  type JsonSpans,
} from "../../../protocol/json-spans.ts";

/** JSON as text or UTF-8. Who gives it answers for its form. */
export type RawJson = string | Uint8Array;

/** By key: the value to stand there, undefined for none, or edits of the object that stands there. */
export interface MemberEdits {
  readonly [key: string]: RawJson | MemberEdits | undefined;
}

/** Wider than the edge's own limits, which a client's body has passed. */
const SCAN_LIMITS = { depthMax: 256, keysMax: 1_024 };
const NOTHING = Buffer.alloc(0);

/** `body` with the edits made; undefined if it is no JSON object, or has a key twice. */
export function editMembers(body: Uint8Array, edits: MemberEdits): Uint8Array | undefined {
  const scan = scanTopLevel(body, SCAN_LIMITS);
  if (!scan.ok) return undefined;
  return spliceBytes(body, [...insertions(scan, edits), ...changes(body, scan, edits)]);
}

/** The bytes of a top-level member's value; undefined without it, or if `body` is no JSON object. */
export function readMember(body: Uint8Array, key: string): Uint8Array | undefined {
  const scan = scanTopLevel(body, SCAN_LIMITS);
  const span = scan.ok ? scan.spans.get(key) : undefined;
  return span === undefined ? undefined : body.subarray(span.valueStart, span.valueEnd);
}

/** Members in the order of the text; undefined if `bytes` is no JSON object, or has a key twice. */
export function readMembers(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> | undefined {
  const scan = scanTopLevel(bytes, SCAN_LIMITS);
  if (!scan.ok) return undefined;
  const values = [...scan.spans].map(
    ([key, span]) => [key, bytes.subarray(span.valueStart, span.valueEnd)] as const,
  );
  return new Map(values);
}

/** What JSON text means; undefined if it is none. For reading only: numbers lose their digits. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    // Spans are not checked to be JSON, and engines' answers are not checked at all.
    return undefined;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One insertion before the first member for all that are new. */
function insertions(scan: JsonSpans, edits: MemberEdits): ByteEdit[] {
  const parts: Uint8Array[] = [];
  for (const [key, edit] of Object.entries(edits)) {
    if (edit === undefined || scan.spans.has(key)) continue;
    if (parts.length > 0) parts.push(Buffer.from(","));
    parts.push(Buffer.from(`${JSON.stringify(key)}:`), newValue(edit));
  }
  if (parts.length === 0) return [];
  const isOneKept = [...scan.spans.keys()].some((key) => !isRemoved(edits, key));
  if (isOneKept) parts.push(Buffer.from(","));
  const at = scan.openAt + 1;
  return [{ start: at, end: at, bytes: Buffer.concat(parts) }];
}

/** Values replaced, edited inside or removed, in the order of the text. */
function changes(body: Uint8Array, scan: JsonSpans, edits: MemberEdits): ByteEdit[] {
  const found: ByteEdit[] = [];
  const members = [...scan.spans];
  let isOneKept = false;
  for (const [index, [key, span]] of members.entries()) {
    if (isRemoved(edits, key)) {
      // The separator goes with the member: the one before it, or behind if nothing is left before.
      const before = isOneKept ? members[index - 1]![1].valueEnd : span.keyStart;
      const behind = isOneKept ? undefined : members[index + 1]?.[1].keyStart;
      found.push({ start: before, end: behind ?? span.valueEnd, bytes: NOTHING });
      continue;
    }
    isOneKept = true;
    const edit = Object.hasOwn(edits, key) ? edits[key] : undefined;
    if (edit === undefined) continue;
    const bytes = isRaw(edit) ? Buffer.from(edit) : editedInside(body, span, edit);
    found.push({ start: span.valueStart, end: span.valueEnd, bytes });
  }
  return found;
}

/** A value that is neither an object nor null is left to the engine, which refuses it. */
function editedInside(body: Uint8Array, span: JsonSpan, edits: MemberEdits): Uint8Array {
  const value = body.subarray(span.valueStart, span.valueEnd);
  if (Buffer.from(value).toString("latin1") === "null") return newValue(edits);
  return editMembers(value, edits) ?? value;
}

function newValue(edit: RawJson | MemberEdits): Uint8Array {
  return isRaw(edit) ? Buffer.from(edit) : editMembers(Buffer.from("{}"), edit)!;
}

function isRemoved(edits: MemberEdits, key: string): boolean {
  return Object.hasOwn(edits, key) && edits[key] === undefined;
}

function isRaw(edit: RawJson | MemberEdits): edit is RawJson {
  return typeof edit === "string" || edit instanceof Uint8Array;
}
