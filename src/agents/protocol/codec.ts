// Binary frames from agent to PoolObject. All numbers little-endian.
//
//   byte 0      1        2         4            12
//        ┌──────┬────────┬─────────┬────────────┬──────────┐
//        │ type │ version│ reserved│ seq (f64)  │ payload… │
//        └──────┴────────┴─────────┴────────────┴──────────┘
//
// `seq` grows by one per frame within an agent's epoch, starting at 1. It is a double because a
// 32-bit counter would wrap in weeks on a busy relay.
//
// MEMBERSHIP, TICKETS, MARKS, MODELS, STARTED, KV_OFFER and RESOURCES payloads are JSON, see messages.ts and
// resources.ts; for KV payloads see kv-frames.ts.
// METRICS payload: u16 row count, then per row
//   u16 endpoint (index in the last MEMBERSHIP) · u8 status · u8 flags · u16 mask · u32 age in ms ·
//   one f64 per set bit of the mask, lowest bit first (field i is configure.metrics[i])
// Fields whose bit is not set are unchanged since the last row. A row with mask 0 says only that
// the sample is fresh. The age is counted at sending, so agent and object need no common clock.
// Flag bit 0: partial, a load that the engine used to publish was not there. A NaN says that the
// field is no longer published; only an agent that was given a specification sends either.

import { PROTOCOL_LIMITS } from "./limits.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, SINCE_VERSION } from "./version.ts";

export const FRAME = {
  membership: 1,
  metrics: 2,
  tickets: 3,
  marks: 4,
  models: 5,
  started: 6,
  kv: 7,
  kvOffer: 8,
  resources: 9,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** The version that brought each type. */
const FRAME_SINCE: Readonly<Record<number, number>> = {
  [FRAME.membership]: 1,
  [FRAME.metrics]: 1,
  [FRAME.tickets]: 1,
  [FRAME.marks]: SINCE_VERSION.marks,
  [FRAME.models]: SINCE_VERSION.models,
  [FRAME.started]: SINCE_VERSION.evictions,
  [FRAME.kv]: SINCE_VERSION.kv,
  [FRAME.kvOffer]: SINCE_VERSION.kv,
  [FRAME.resources]: SINCE_VERSION.resources,
};

export const FRAME_HEADER_BYTES = 12;
const ROW_HEADER_BYTES = 10;
const FLAG_PARTIAL = 1;

/** How the last scrape of an endpoint went. */
export const SCRAPE_STATUS = { ok: 0, unreachable: 1, malformed: 2 } as const;
export type ScrapeStatus = (typeof SCRAPE_STATUS)[keyof typeof SCRAPE_STATUS];

/** Where a frame stands on its connection: the session says, the encoder writes. */
export interface FramePlace {
  /** As agreed by the welcome. */
  readonly version: number;
  readonly seq: number;
}

export interface FrameHeader extends FramePlace {
  readonly type: FrameType;
}

export interface MetricsRow {
  /** Index in the last MEMBERSHIP frame's endpoints. */
  readonly endpoint: number;
  readonly status: ScrapeStatus;
  readonly ageMs: number;
  /** Bit i set: `values` holds configure.metrics[i]. */
  readonly mask: number;
  /** The values of the set bits, lowest bit first; NaN for a field that is no longer published. */
  readonly values: readonly number[];
  /** A load that the engine used to publish was not there; absent where that is not so. */
  readonly isPartial?: true;
}

/** Reasons a frame is refused. Closed set; also a metric label. */
export type FrameError =
  | "too-short"
  | "too-long"
  | "unknown-type"
  | "unsupported-version"
  | "bad-payload";
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: FrameError };

function writeHeader(view: DataView, { type, version, seq }: FrameHeader): void {
  view.setUint8(0, type);
  view.setUint8(1, version);
  view.setUint16(2, 0, true);
  view.setFloat64(4, seq, true);
}

function isFrameType(type: number, version: number): type is FrameType {
  const since = FRAME_SINCE[type];
  return since !== undefined && since <= version;
}

/** Reads a frame's header. Never throws; a frame from a stranger is a value, not an exception. */
export function decodeHeader(frame: Uint8Array): Decoded<FrameHeader> {
  if (frame.byteLength < FRAME_HEADER_BYTES) return { ok: false, error: "too-short" };
  if (frame.byteLength > PROTOCOL_LIMITS.frameBytesMax) return { ok: false, error: "too-long" };
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const version = view.getUint8(1);
  if (version < PROTOCOL_VERSION_MIN || version > PROTOCOL_VERSION) {
    return { ok: false, error: "unsupported-version" };
  }
  const type = view.getUint8(0);
  if (!isFrameType(type, version)) return { ok: false, error: "unknown-type" };
  const seq = view.getFloat64(4, true);
  if (!Number.isSafeInteger(seq) || seq < 1) return { ok: false, error: "bad-payload" };
  return { ok: true, value: { type, version, seq } };
}

/** The payload of a frame whose header was accepted: a view, not a copy. */
export function framePayload(frame: Uint8Array): Uint8Array {
  return frame.subarray(FRAME_HEADER_BYTES);
}

/**
 * Puts `payload` (UTF-8 JSON for all but METRICS and KV) behind a header. The caller keeps payloads below
 * limits.frameBytesMax.
 */
export function encodeFrame(header: FrameHeader, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.byteLength);
  writeHeader(new DataView(frame.buffer), header);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** Encodes one METRICS frame. Rows are at most limits.endpointsMax. */
export function encodeMetrics(
  place: FramePlace,
  rows: readonly MetricsRow[],
): Uint8Array<ArrayBuffer> {
  let bytes = FRAME_HEADER_BYTES + 2;
  for (const row of rows) bytes += ROW_HEADER_BYTES + 8 * row.values.length;
  const frame = new Uint8Array(bytes);
  const view = new DataView(frame.buffer);
  writeHeader(view, { ...place, type: FRAME.metrics });
  let at = FRAME_HEADER_BYTES;
  view.setUint16(at, rows.length, true);
  at += 2;
  for (const row of rows) {
    view.setUint16(at, row.endpoint, true);
    view.setUint8(at + 2, row.status);
    view.setUint8(at + 3, row.isPartial === true ? FLAG_PARTIAL : 0);
    view.setUint16(at + 4, row.mask, true);
    view.setUint32(at + 6, Math.min(row.ageMs, 0xffffffff), true);
    at += ROW_HEADER_BYTES;
    for (const value of row.values) {
      view.setFloat64(at, value, true);
      at += 8;
    }
  }
  return frame;
}

/** Decodes the payload of a METRICS frame; every length is checked before it is read. */
export function decodeMetrics(payload: Uint8Array): Decoded<MetricsRow[]> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (payload.byteLength < 2) return { ok: false, error: "too-short" };
  const count = view.getUint16(0, true);
  if (count > PROTOCOL_LIMITS.endpointsMax) return { ok: false, error: "bad-payload" };
  const rows: MetricsRow[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    if (at + ROW_HEADER_BYTES > payload.byteLength) return { ok: false, error: "too-short" };
    const status = view.getUint8(at + 2);
    if (status !== 0 && status !== 1 && status !== 2) return { ok: false, error: "bad-payload" };
    const isPartial = (view.getUint8(at + 3) & FLAG_PARTIAL) !== 0;
    const mask = view.getUint16(at + 4, true);
    const endpoint = view.getUint16(at, true);
    const ageMs = view.getUint32(at + 6, true);
    at += ROW_HEADER_BYTES;
    const values: number[] = [];
    for (let bits = mask; bits !== 0; bits &= bits - 1) {
      if (at + 8 > payload.byteLength) return { ok: false, error: "too-short" };
      const value = view.getFloat64(at, true);
      if (value === Infinity || value === -Infinity) return { ok: false, error: "bad-payload" };
      values.push(value);
      at += 8;
    }
    const row = { endpoint, status, ageMs, mask, values } as const;
    rows.push(isPartial ? { ...row, isPartial } : row);
  }
  if (at !== payload.byteLength) return { ok: false, error: "bad-payload" };
  return { ok: true, value: rows };
}
