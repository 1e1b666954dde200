// Where the parts of a packed record are; see layout.ts for its form.

import {
  FLOAT_COLUMNS,
  FLOAT_FIELDS,
  INT_COLUMNS,
  INT_FIELDS,
  PLAIN_ROW_INTS,
  RUN_FIELDS,
} from "./layout.ts";

/** Both over the same bytes. */
export interface RecordNumbers {
  readonly floats: Float64Array;
  readonly ints: Int32Array;
}

export type Header = Readonly<
  Record<(typeof FLOAT_FIELDS)[number] | (typeof INT_FIELDS)[number], number>
>;
export type RunHeader = Readonly<Record<(typeof RUN_FIELDS)[number], number>>;

export interface Headers {
  readonly header: Header;
  readonly runHeaders: readonly RunHeader[];
  /** Index in `floats`. */
  readonly rowsAt: number;
}

/** Reads one number after another. */
export class IntCursor {
  readonly #ints: Int32Array;
  at: number;

  constructor(ints: Int32Array, at: number) {
    this.#ints = ints;
    this.at = at;
  }

  next(): number {
    return this.#ints[this.at++]!;
  }

  take(count: number): Int32Array {
    return this.#ints.slice(this.at, (this.at += count));
  }
}

/** Of the record at `at`. Reads as many runs as it says it has, `runsMax` at most. */
export function readHeaders(
  { floats, ints }: RecordNumbers,
  at: number,
  runsMax = Infinity,
): Headers {
  const cursor = new IntCursor(ints, 2 * (at + FLOAT_FIELDS.length));
  const header = Object.fromEntries([
    ...FLOAT_FIELDS.map((name, i) => [name, floats[at + i]!]),
    ...INT_FIELDS.map((name) => [name, cursor.next()]),
  ]) as Header;
  const runHeaders = Array.from(
    { length: Math.min(header.runCount, runsMax) },
    () => Object.fromEntries(RUN_FIELDS.map((name) => [name, cursor.next()])) as RunHeader,
  );
  return { header, runHeaders, rowsAt: cursor.at / 2 };
}

/** Indices in `floats` of weighted blocks and of each run's scores; in `ints` of all that follows. */
export function stretchesOf({ header, runHeaders, rowsAt }: Headers) {
  const { rowCount, isTiered, hasAdapters } = header;
  const weightsAt = rowsAt + FLOAT_COLUMNS.length * rowCount;
  let scoresAt = weightsAt + isTiered * rowCount;
  const scoresOf = runHeaders.map(({ scorerCount }) => {
    const at = scoresAt;
    scoresAt += scorerCount * rowCount;
    return at;
  });
  const intsAt = 2 * scoresAt;
  const plainAt = intsAt + INT_COLUMNS.length * rowCount;
  const adaptersAt = plainAt + PLAIN_ROW_INTS * rowCount;
  let tailAt = adaptersAt + hasAdapters * rowCount;
  // Of each run "removed by", which its terms follow.
  const removedByOf = runHeaders.map(({ termCount }) => {
    const at = tailAt;
    tailAt += (1 + termCount) * rowCount;
    return at;
  });
  return { weightsAt, scoresOf, intsAt, plainAt, adaptersAt, removedByOf, tailAt };
}
