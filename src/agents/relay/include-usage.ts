// Asks the engine for token counts even where the client did not: the ticket is settled with them.
// The body is edited by splices; what is not understood is left to the engine as it is.

import {
  insertMember,
  scanTopLevel,
  spliceBytes,
  type ByteEdit,
  type JsonSpan,
  type JsonSpans,
} from "../protocol/json-spans.ts";

/** Wider than the edge's own limits, which the body has passed. */
const SCAN_LIMITS = { depthMax: 256, keysMax: 1_024 };
const MODEL_BYTES_MAX = 512;

const STREAM_OPTIONS = Buffer.from('"stream_options":{"include_usage":true}');
const INCLUDE_USAGE = Buffer.from('"include_usage":true');
const OPTIONS_VALUE = Buffer.from('{"include_usage":true}');
const TRUE = Buffer.from("true");

export interface PreparedBody {
  readonly bytes: Uint8Array;
  /** The client did not ask for usage: the chunk that carries it must be taken out again. */
  readonly isUsageAdded: boolean;
  /** As the body names it, for traces; null if it does not. */
  readonly model: string | null;
}

/** Makes a streaming request ask for usage. Other bodies come back as they are. */
export function prepareBody(bytes: Uint8Array): PreparedBody {
  const scan = scanTopLevel(bytes, SCAN_LIMITS);
  if (!scan.ok) return { bytes, isUsageAdded: false, model: null };
  const model = readModel(bytes, scan.spans.get("model"));
  const edit = isTrue(bytes, scan.spans.get("stream")) ? usageEdit(bytes, scan) : undefined;
  if (edit === undefined) return { bytes, isUsageAdded: false, model };
  return { bytes: spliceBytes(bytes, [edit]), isUsageAdded: true, model };
}

/** The splice that asks for usage; undefined if the body asks already or is not understood. */
function usageEdit(bytes: Uint8Array, scan: JsonSpans): ByteEdit | undefined {
  const options = scan.spans.get("stream_options");
  if (options === undefined) return insertMember(scan, STREAM_OPTIONS);
  const { valueStart, valueEnd } = options;
  const value = bytes.subarray(valueStart, valueEnd);
  if (textOf(value) === "null") return { start: valueStart, end: valueEnd, bytes: OPTIONS_VALUE };
  const inner = scanTopLevel(value, SCAN_LIMITS);
  if (!inner.ok) return undefined;
  const asked = inner.spans.get("include_usage");
  if (asked === undefined) return shifted(insertMember(inner, INCLUDE_USAGE), valueStart);
  const text = textOf(value.subarray(asked.valueStart, asked.valueEnd));
  if (text !== "false" && text !== "null") return undefined;
  return shifted({ start: asked.valueStart, end: asked.valueEnd, bytes: TRUE }, valueStart);
}

function shifted(edit: ByteEdit, by: number): ByteEdit {
  return { start: edit.start + by, end: edit.end + by, bytes: edit.bytes };
}

function isTrue(bytes: Uint8Array, span: JsonSpan | undefined): boolean {
  return span !== undefined && textOf(bytes.subarray(span.valueStart, span.valueEnd)) === "true";
}

function readModel(bytes: Uint8Array, span: JsonSpan | undefined): string | null {
  if (span === undefined || span.valueEnd - span.valueStart > MODEL_BYTES_MAX) return null;
  try {
    const value: unknown = JSON.parse(textOf(bytes.subarray(span.valueStart, span.valueEnd)));
    return typeof value === "string" ? value : null;
  } catch {
    // A span is not checked to be JSON.
    return null;
  }
}

function textOf(bytes: Uint8Array): string {
  const { buffer, byteOffset, byteLength } = bytes;
  return byteLength > MODEL_BYTES_MAX ? "" : Buffer.from(buffer, byteOffset, byteLength).toString();
}
