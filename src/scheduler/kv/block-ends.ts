// Where content ends in tokens, by entry of a BlockTable: two bytes each, for the entries that have one.
// The unit is whoever's tells them, the same for all.

/** The end of a block that nobody has told. */
export const END_UNKNOWN = 0xffff;
/** Entries that the array begins with; it doubles. */
const ENTRIES_MIN = 4_096;

export class BlockEnds {
  readonly #entriesMax: number;
  #ends: Uint16Array;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    this.#ends = new Uint16Array(Math.min(ENTRIES_MIN, entriesMax)).fill(END_UNKNOWN);
  }

  get byteLength(): number {
    return this.#ends.byteLength;
  }

  at(entry: number): number {
    return entry < this.#ends.length ? this.#ends[entry]! : END_UNKNOWN;
  }

  set(entry: number, end: number): void {
    if (entry >= this.#ends.length) this.#grow(entry + 1);
    this.#ends[entry] = end;
  }

  /** The entry is another block's from now on. */
  forget(entry: number): void {
    if (entry < this.#ends.length) this.#ends[entry] = END_UNKNOWN;
  }

  #grow(entries: number): void {
    const length = Math.max(entries, Math.min(this.#ends.length * 2, this.#entriesMax));
    const ends = new Uint16Array(length).fill(END_UNKNOWN, this.#ends.length);
    ends.set(this.#ends);
    this.#ends = ends;
  }
}
