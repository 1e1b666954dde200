// A record by itself, as it travels from an isolate that has decided alone to the pool's object, and is kept there:
//
//   numbers   a record as layout.ts has it
//   names     JSON: [texts, kinds of endpoints, endpoints], which the numbers name by their indices
//
// It names its endpoints itself, by id and address: slots are those of the isolate's replica, and may be others' in
// the object by now. Whoever keeps one looks at its size only. It is read when somebody asks, with a distrust that
// finds out all that could break the reader: then there is no record.

import { z } from "zod";
import { schedulerHash } from "../config/scheduler-hash.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { mixed } from "../kv/pair-words.ts";
import type { Endpoint } from "../model/endpoint-table.ts";
import { isSoundRecord } from "./check-record.ts";
import {
  FLOAT_COLUMNS,
  FLOAT_FIELDS,
  INT_COLUMNS,
  INT_FIELDS,
  RECORD_BYTES_MAX,
  RUN_FIELDS,
} from "./layout.ts";
import { readRecord, type RecordSource } from "./reader.ts";
import { type DecisionRecord, STAGE_ROLES } from "./record.ts";
import type { RecordKeeper } from "./recorder.ts";
import { DecisionSegment, type FinishedDecision } from "./segment.ts";
import { SlotIndex } from "./slots.ts";

export interface PackedRecord {
  /** RECORD_LAYOUT of who wrote it. */
  readonly layout: number;
  /** Of the configuration that decided; see config/scheduler-hash.ts. */
  readonly schedulerHash: string;
  readonly numbers: Uint8Array;
  readonly names: string;
}

/** The record of a decision that an isolate has told of, or tells of at the same time. */
export interface LocalRecord extends PackedRecord {
  readonly requestId: string;
  readonly attempt: number;
}

/** Records in one call of an isolate. */
export const RECORDS_A_SYNC_MAX = 32;
/** A record whose endpoints' labels take more is not sent. */
export const RECORD_NAMES_CHARS_MAX = 64 * 1024;

/** To be raised with a change of layout.ts that leaves the names of fields and columns as they are. */
const FORM = 1;

/** What is packed otherwise has another. */
export const RECORD_LAYOUT = chained(
  JSON.stringify([
    FORM,
    FLOAT_FIELDS,
    INT_FIELDS,
    RUN_FIELDS,
    FLOAT_COLUMNS,
    INT_COLUMNS,
    STAGE_ROLES,
  ]),
);

function chained(text: string): number {
  let word = 0;
  for (let i = 0; i < text.length; i++) word = mixed(word ^ text.charCodeAt(i));
  return word;
}

/** Bytes and characters that it takes. */
export function sizeOfRecord({ numbers, names }: PackedRecord): number {
  return numbers.byteLength + names.length;
}

/** Whether it is of a size and kind to be kept. */
export function isPackedRecord({ layout, numbers, names }: PackedRecord): boolean {
  return (
    layout === RECORD_LAYOUT &&
    numbers instanceof Uint8Array &&
    numbers.byteLength <= RECORD_BYTES_MAX &&
    typeof names === "string" &&
    names.length <= RECORD_NAMES_CHARS_MAX
  );
}

/** Packs what a DecisionRecorder has seen. Holds a buffer for the longest record. */
export class RecordPacker implements RecordKeeper {
  readonly #buffer = new ArrayBuffer(RECORD_BYTES_MAX);
  readonly #slots = new SlotIndex();
  readonly #hashes = new WeakMap<SchedulerConfig, string>();
  #packed: PackedRecord | undefined;

  add(decision: FinishedDecision): void {
    const { scheduler } = decision.facts;
    const slots = this.#slots;
    const segment = new DecisionSegment(this.#buffer, { scheduler, slots });
    segment.write(decision);
    const numbers = new Uint8Array(this.#buffer.slice(0, segment.usedBytes));
    const names = namesOf(segment);
    const isShort = names.length <= RECORD_NAMES_CHARS_MAX;
    const hash = this.#hashOf(scheduler);
    this.#packed = isShort
      ? { layout: RECORD_LAYOUT, schedulerHash: hash, numbers, names }
      : undefined;
  }

  /** The last one, once. Undefined where it cannot be sent. */
  take(): PackedRecord | undefined {
    const packed = this.#packed;
    this.#packed = undefined;
    return packed;
  }

  #hashOf(scheduler: SchedulerConfig): string {
    let hash = this.#hashes.get(scheduler);
    if (hash === undefined) this.#hashes.set(scheduler, (hash = schedulerHash(scheduler)));
    return hash;
  }
}

/** Endpoints of a pool are of few kinds, each told once. */
function namesOf({ names: { texts, endpoints } }: DecisionSegment): string {
  const kinds: string[] = [];
  const told = endpoints.map(({ id, address, engine, labels }) => {
    const kind = JSON.stringify([engine, labels]);
    const known = kinds.indexOf(kind);
    return [id, address, known < 0 ? kinds.push(kind) - 1 : known];
  });
  return `[${JSON.stringify(texts)},[${kinds.join(",")}],${JSON.stringify(told)}]`;
}

const namesSchema = z.tuple([
  z.array(z.string()),
  z.array(z.tuple([z.string(), z.record(z.string(), z.string())])),
  z.array(z.tuple([z.string(), z.string(), z.int().min(0)])),
]);

/** Undefined for one that is damaged. `scheduler`: the configuration that decided. */
export function unpackRecord(
  packed: PackedRecord,
  requestId: string,
  scheduler: SchedulerConfig,
): DecisionRecord | undefined {
  try {
    const { texts, endpoints } = readNames(packed.names);
    // A copy, for numbers begin at a multiple of their size.
    const buffer = packed.numbers.slice().buffer;
    const source: RecordSource = {
      floats: new Float64Array(buffer),
      ints: new Int32Array(buffer),
      singles: new Float32Array(buffer),
      scheduler,
      text: (index) => texts[index],
      endpoint: (index) => endpoints[index]!,
    };
    const isSound = isSoundRecord(source, { texts: texts.length, endpoints: endpoints.length });
    return isSound ? readRecord(source, 0, requestId) : undefined;
  } catch {
    // Its names are no JSON, or its numbers no whole words.
    return undefined;
  }
}

function readNames(names: string): {
  readonly texts: readonly string[];
  readonly endpoints: readonly Endpoint[];
} {
  const [texts, kinds, told] = namesSchema.parse(JSON.parse(names));
  const endpoints = told.map(([id, address, kind]) => {
    const [engine, labels] = kinds[kind]!;
    return { id, address, engine, labels };
  });
  return { texts, endpoints };
}
