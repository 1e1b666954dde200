// The columns of some slots as bytes: what an isolate's copy of a pool is made of.
//
//   rows   magic │ version │ count u16 │ row │ row │ …
//   row    length u16 │ slot u16 │ columns │ queue │ adapters │ scalars │ what later versions add
//                                  each part: length u16, then as much
//
// Parts, and fields within a part, are only ever added at the end: who knows fewer skips the rest, who knows
// more finds the row or the part at its end and leaves at its default what is not there. Numbers are
// little-endian. Moments are ages: ms before the packing, NaN for the 0 that stands for "never".
// Names are numbers: places in a list that travels beside the bytes.

import {
  ADAPTER_NAMES_MAX,
  ADAPTERS_PER_ENDPOINT_MAX,
  type AdapterSample,
} from "../model/adapters.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../model/endpoint-table.ts";
import { SCALARS_MAX } from "../model/scalars.ts";

const MAGIC = 0xe5;
const ROWS_VERSION = 1;
const HEADER_BYTES = 4;

type ColumnName = Exclude<
  keyof EndpointColumns,
  "slotCount" | "isPresent" | "adapters" | "scalar" | "queueDepth"
>;

/**
 * Every column but the queue, which has a part of its own, in their order in a row. What is new comes last:
 * rows of two versions are read by each other.
 */
const COLUMNS = {
  runningRequests: "int32",
  kvUsage: "float64",
  kvCapacityTokens: "float64",
  sampledAtMs: "moment",
  inFlightRequests: "int32",
  inFlightTokens: "float64",
  ejectedUntilMs: "moment",
  cameAtMs: "moment",
  prefillBusyUntilMs: "moment",
  prefillMsPerToken: "float64",
  transferMsPerToken: "float64",
  serviceMs: "float64",
  requestTokens: "float64",
  coldTokens: "float64",
  loraMax: "int32",
} as const satisfies Record<ColumnName, "int32" | "float64" | "moment">;

const NAMES = Object.keys(COLUMNS) as ColumnName[];
const COLUMN_BYTES = NAMES.map((name) => (COLUMNS[name] === "int32" ? 4 : 8));
const COLUMNS_BYTES = COLUMN_BYTES.reduce((sum, bytes) => sum + bytes, 0);
const QUEUE_BYTES = 4 + 8;
/** Bytes of a row at most. */
const ROW_BYTES_MAX =
  4 +
  2 +
  COLUMNS_BYTES +
  2 +
  QUEUE_BYTES +
  2 +
  10 +
  4 * ADAPTERS_PER_ENDPOINT_MAX +
  2 +
  10 * SCALARS_MAX;

/** Names are two bytes. More than a pool has at once: those that have gone are forgotten then. */
const NAMES_MAX = 2 * (ADAPTER_NAMES_MAX + SCALARS_MAX);

/** What a row says of a slot; moments are still ages. */
export interface EdgeRow {
  readonly slot: number;
  /** In the order of COLUMNS; shorter for a row of an older version. */
  readonly columns: Float64Array;
  readonly waiting: number;
  readonly replicas: number;
  readonly adapters: AdapterSample | undefined;
  readonly scalars: ReadonlyMap<string, number>;
}

export interface PackedRows {
  readonly rows: Uint8Array;
  readonly names: readonly string[];
}

/** A row that is packed: whose, as of when, and from where on. */
interface RowAt {
  readonly slot: number;
  readonly nowMs: number;
  readonly at: number;
}

/** Packs slots of one table after another; it owns the buffer, which grows with the rows of one `pack`. */
export class RowPacker {
  #view = new DataView(new ArrayBuffer(HEADER_BYTES + ROW_BYTES_MAX));
  readonly #nameIds = new Map<string, number>();

  /** The columns of `slots` as of `nowMs`. O(slots). */
  pack(table: EndpointTable, slots: readonly number[], nowMs: number): PackedRows {
    this.#nameIds.clear();
    let at = HEADER_BYTES;
    for (const slot of slots) {
      this.#makeRoom(at);
      at = this.#packRow(table, { slot, nowMs, at });
    }
    const view = this.#view;
    view.setUint8(0, MAGIC);
    view.setUint8(1, ROWS_VERSION);
    view.setUint16(2, slots.length, true);
    return { rows: new Uint8Array(view.buffer.slice(0, at)), names: [...this.#nameIds.keys()] };
  }

  /**
   * A row as of no moment, by names of this packer's own: equal where the endpoint has not changed. A view, valid
   * until the next.
   */
  packRow(table: EndpointTable, slot: number): Uint8Array {
    if (this.#nameIds.size > NAMES_MAX) this.#nameIds.clear();
    const end = this.#packRow(table, { slot, nowMs: 0, at: 0 });
    return new Uint8Array(this.#view.buffer, 0, end);
  }

  /** Of one more row. */
  #makeRoom(at: number): void {
    const { buffer } = this.#view;
    if (at + ROW_BYTES_MAX <= buffer.byteLength) return;
    this.#view = new DataView(buffer.transfer(2 * (at + ROW_BYTES_MAX)));
  }

  /** Gives where it ends. */
  #packRow(table: EndpointTable, row: RowAt): number {
    const view = this.#view;
    const { slot } = row;
    view.setUint16(row.at + 2, slot, true);
    let at = packColumns(view, table.columns, row);
    view.setUint16(at, QUEUE_BYTES, true);
    view.setInt32(at + 2, table.columns.queueDepth[slot]!, true);
    view.setFloat64(at + 6, table.replicasOf(slot), true);
    at = this.#packAdapters(table.adaptersOf(slot), at + 2 + QUEUE_BYTES);
    at = this.#packScalars(table, slot, at);
    view.setUint16(row.at, at - row.at - 2, true);
    return at;
  }

  /** An empty part where nothing is known. */
  #packAdapters(adapters: AdapterSample | undefined, from: number): number {
    const view = this.#view;
    let at = from + 2;
    if (adapters !== undefined) {
      const { active, waiting, activeCount = active.length } = adapters;
      view.setInt32(at, adapters.maxActive, true);
      view.setUint16(at + 4, activeCount, true);
      view.setUint16(at + 6, adapters.waitingCount ?? waiting.length, true);
      view.setUint16(at + 8, active.length, true);
      at += 10;
      for (const name of active.concat(waiting)) {
        view.setUint16(at, this.#idOf(name), true);
        at += 2;
      }
    }
    view.setUint16(from, at - from - 2, true);
    return at;
  }

  #packScalars(table: EndpointTable, slot: number, from: number): number {
    const view = this.#view;
    let at = from + 2;
    for (const key of table.scalarKeys) {
      view.setUint16(at, this.#idOf(key), true);
      view.setFloat64(at + 2, table.columns.scalar(key)![slot]!, true);
      at += 10;
    }
    view.setUint16(from, at - from - 2, true);
    return at;
  }

  #idOf(name: string): number {
    const known = this.#nameIds.get(name);
    if (known !== undefined) return known;
    const id = this.#nameIds.size;
    this.#nameIds.set(name, id);
    return id;
  }
}

/** Writes the part of a row that has the columns; gives where it ends. */
function packColumns(
  view: DataView,
  columns: EndpointColumns,
  { slot, nowMs, at: from }: RowAt,
): number {
  let at = from + 4;
  view.setUint16(at, COLUMNS_BYTES, true);
  at += 2;
  for (let c = 0; c < NAMES.length; c++) {
    const name = NAMES[c]!;
    const kind = COLUMNS[name];
    const value = columns[name][slot]!;
    if (kind === "int32") view.setInt32(at, value, true);
    else view.setFloat64(at, kind === "float64" ? value : ageOf(value, nowMs), true);
    at += COLUMN_BYTES[c]!;
  }
  return at;
}

/** Both are Unix ms, so the difference is exact, and so is what becomes of it with the same clock. */
function ageOf(momentMs: number, nowMs: number): number {
  return momentMs === 0 ? Number.NaN : nowMs - momentMs;
}

function momentOf(ageMs: number, asOfMs: number): number {
  return Number.isNaN(ageMs) ? 0 : asOfMs - ageMs;
}

/** Undefined for bytes that are no rows. */
export function unpackRows({ rows, names }: PackedRows): EdgeRow[] | undefined {
  if (rows.length < HEADER_BYTES) return undefined;
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  if (view.getUint8(0) !== MAGIC || view.getUint8(1) < ROWS_VERSION) return undefined;
  const count = view.getUint16(2, true);
  const unpacked: EdgeRow[] = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + 4 > rows.length) return undefined;
    const end = at + 2 + view.getUint16(at, true);
    const row = end > rows.length ? undefined : unpackRow(new RowReader(view, at + 2, end), names);
    if (row === undefined) return undefined;
    unpacked.push(row);
    at = end;
  }
  return unpacked;
}

/** Reads a row, or a part of it. What lies past its end is not there. */
class RowReader {
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(view: DataView, at: number, end: number) {
    this.#view = view;
    this.#at = at;
    this.#end = end;
  }

  has(bytes: number): boolean {
    return this.#at + bytes <= this.#end;
  }

  uint16(): number {
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2, true);
  }

  int32(): number {
    this.#at += 4;
    return this.#view.getInt32(this.#at - 4, true);
  }

  float64(): number {
    this.#at += 8;
    return this.#view.getFloat64(this.#at - 8, true);
  }

  /** The next part; an empty one where the row ends before. */
  part(): RowReader {
    const length = this.has(2) ? this.uint16() : 0;
    const from = Math.min(this.#at, this.#end);
    this.#at = Math.min(from + length, this.#end);
    return new RowReader(this.#view, from, this.#at);
  }
}

function unpackRow(reader: RowReader, names: readonly string[]): EdgeRow | undefined {
  if (!reader.has(2)) return undefined;
  const slot = reader.uint16();
  if (slot >= ENDPOINTS_MAX) return undefined;
  const columns = unpackColumns(reader.part());
  const queue = reader.part();
  const waiting = queue.has(4) ? queue.int32() : 0;
  const replicas = queue.has(8) ? queue.float64() : 1;
  const adapters = unpackAdapters(reader.part(), names);
  const scalars = unpackScalars(reader.part(), names);
  return { slot, columns, waiting, replicas, adapters, scalars };
}

function unpackColumns(part: RowReader): Float64Array {
  const columns: number[] = [];
  for (let c = 0; c < NAMES.length && part.has(COLUMN_BYTES[c]!); c++) {
    columns.push(COLUMN_BYTES[c] === 4 ? part.int32() : part.float64());
  }
  return Float64Array.from(columns);
}

function unpackAdapters(part: RowReader, names: readonly string[]): AdapterSample | undefined {
  if (!part.has(10)) return undefined;
  const maxActive = part.int32();
  const activeCount = part.uint16();
  const waitingCount = part.uint16();
  const namedActive = part.uint16();
  const active: string[] = [];
  const waiting: string[] = [];
  for (let i = 0; i < 2 * ADAPTERS_PER_ENDPOINT_MAX && part.has(2); i++) {
    const name = names[part.uint16()];
    if (name !== undefined) (i < namedActive ? active : waiting).push(name);
  }
  return { active, waiting, maxActive, activeCount, waitingCount };
}

function unpackScalars(part: RowReader, names: readonly string[]): ReadonlyMap<string, number> {
  const scalars = new Map<string, number>();
  for (let i = 0; i < SCALARS_MAX && part.has(10); i++) {
    const key = names[part.uint16()];
    const value = part.float64();
    if (key !== undefined) scalars.set(key, value);
  }
  return scalars;
}

/** Writes the columns of a row, and the queue, into a copy of the table that it was packed from. */
export function restoreColumns(table: EndpointTable, row: EdgeRow, asOfMs: number): void {
  const { slot, columns } = row;
  for (let c = 0; c < columns.length; c++) {
    const name = NAMES[c]!;
    const value = columns[c]!;
    table.columns[name][slot] = COLUMNS[name] === "moment" ? momentOf(value, asOfMs) : value;
  }
  table.restoreQueue(slot, row.waiting, row.replicas);
}

/** Writes the rest of a row: what no dispatch changes. */
export function restoreFacts(table: EndpointTable, { slot, adapters, scalars }: EdgeRow): void {
  if (adapters === undefined) table.forgetAdapters(slot);
  else table.applyAdapters(slot, adapters);
  const keys = [...scalars.keys()];
  const isSame =
    keys.length === table.scalarKeys.length && keys.every((key) => table.columns.scalar(key));
  if (!isSame) table.defineScalars(keys);
  for (const [key, value] of scalars) table.columns.scalar(key)![slot] = value;
}
