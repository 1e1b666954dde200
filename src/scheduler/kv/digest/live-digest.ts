// A digest of tables that change, kept up to date with what is added to them.
//
//   tables ──each key that is added──► the digest there is, and the one that is being built
//   renew  ──tables are others, too much is gone or has come──► built anew, a slice a turn ── slice ── slice ──┘
//
// So it lacks nothing that the tables hold. What they have removed since the build is in it still; when that is
// more than a part, all is built anew. Nothing runs by itself: nobody asks, nothing is done.

import type { KeyTable } from "../block-table.ts";
import { CacheDigestBuilder } from "./cache-digest-builder.ts";

/** Entries that are looked at in one turn: a fraction of a millisecond. */
export const DIGEST_SLICE_KEYS = 8_192;
/** Room for keys that come after the build: a tenth, and some for small pools. */
const HEADROOM = 1.1;
const HEADROOM_KEYS = 256;

export interface LiveDigestOptions {
  /** What is in caches. A key may be in several. Each is listened to by this digest alone. */
  readonly tables: () => readonly KeyTable[];
  /** Whether that is all that the pool knows. */
  readonly isComplete: () => boolean;
  /** Calls back in a turn of its own. */
  readonly defer: (callback: () => void) => void;
  /** Of the keys of a digest, how many may be gone from the caches. */
  readonly goneShareMax: number;
  readonly bytesMax?: number | undefined;
  /** A new one is there. */
  readonly onBuilt: () => void;
  /** The digest that is there has taken up a key. */
  readonly onAdded?: (low: number, high: number) => void;
}

/** A digest, and what it was made of. */
interface Made {
  readonly builder: CacheDigestBuilder;
  readonly tables: readonly KeyTable[];
  readonly isComplete: boolean;
  /** As planned for. */
  readonly keysMax: number;
  readonly addedBefore: number;
  readonly removedBefore: number;
}

export class LiveDigest {
  readonly #options: LiveDigestOptions;
  readonly #piece = new Uint32Array(DIGEST_SLICE_KEYS * 2);
  #made: Made | undefined;
  #making: Made | undefined;

  constructor(options: LiveDigestOptions) {
    this.#options = options;
  }

  /** The digest there is. */
  get builder(): CacheDigestBuilder | undefined {
    return this.#made?.builder;
  }

  get isBuilding(): boolean {
    return this.#making !== undefined;
  }

  /** Additions to its tables and removals, since the beginning of those; NaN where it is of other tables. */
  get changes(): number {
    const made = this.#made;
    const { tables, isComplete } = this.#options;
    const isSame =
      made !== undefined && made.isComplete === isComplete() && areSame(tables(), made.tables);
    return isSame ? changesOf(made.tables) : Number.NaN;
  }

  /** Whether the one there is will do. If not, another is being built from now on, unless one is already. */
  renew(): boolean {
    const made = this.#made;
    if (made !== undefined && !Number.isNaN(this.changes) && this.#isGoodEnough(made)) return true;
    if (this.#making === undefined) this.rebuild();
    return false;
  }

  /** All is built anew, whatever has been built up to now. */
  rebuild(): void {
    const tables = this.#options.tables();
    const isComplete = this.#options.isComplete();
    this.#listenNoMore();
    const keysMax = Math.ceil(sum(tables, ({ size }) => size) * HEADROOM) + HEADROOM_KEYS;
    const { bytesMax } = this.#options;
    const builder = new CacheDigestBuilder({
      keyCount: keysMax,
      ...(bytesMax === undefined ? {} : { bytesMax }),
    });
    if (!isComplete) builder.leaveOut();
    const addedBefore = sum(tables, ({ addedCount, size }) => addedCount - size);
    const removedBefore = sum(tables, ({ removedCount }) => removedCount);
    const making = { builder, tables, isComplete, keysMax, addedBefore, removedBefore };
    this.#making = making;
    for (const table of new Set([...tables, ...(this.#made?.tables ?? [])]))
      table.onAdded = (low, high) => this.#added(low, high);
    this.#read(making, 0, 0);
  }

  /** Tables are listened to no more. */
  stop(): void {
    this.#listenNoMore();
    this.#making = undefined;
    this.#made = undefined;
  }

  #listenNoMore(): void {
    for (const made of [this.#made, this.#making])
      for (const table of made?.tables ?? []) table.onAdded = undefined;
  }

  #added(low: number, high: number): void {
    this.#making?.builder.add(low, high);
    if (this.#made?.builder.add(low, high) === true) this.#options.onAdded?.(low, high);
  }

  /** A slice of the table at `index`, and the rest later. */
  #read(making: Made, index: number, position: number): void {
    if (this.#making !== making) return;
    const table = making.tables[index];
    if (table === undefined) {
      this.#listenNoMore();
      this.#making = undefined;
      this.#made = making;
      for (const each of making.tables) each.onAdded = (low, high) => this.#added(low, high);
      this.#options.onBuilt();
      return;
    }
    const { keys, next } = table.readKeys(position, this.#piece);
    making.builder.addKeys(keys);
    const after = next === undefined ? index + 1 : index;
    this.#options.defer(() => this.#read(making, after, next ?? 0));
  }

  /** There is room for what was added, and little of it is gone. */
  #isGoodEnough({ tables, keysMax, addedBefore, removedBefore }: Made): boolean {
    const added = sum(tables, ({ addedCount }) => addedCount) - addedBefore;
    const removed = sum(tables, ({ removedCount }) => removedCount) - removedBefore;
    return added <= keysMax && removed <= keysMax * this.#options.goneShareMax;
  }
}

function areSame(tables: readonly KeyTable[], others: readonly KeyTable[]): boolean {
  return tables.length === others.length && tables.every((table, i) => table === others[i]);
}

function changesOf(tables: readonly KeyTable[]): number {
  return sum(tables, ({ addedCount, removedCount }) => addedCount + removedCount);
}

function sum(tables: readonly KeyTable[], value: (table: KeyTable) => number): number {
  return tables.reduce((total, table) => total + value(table), 0);
}
