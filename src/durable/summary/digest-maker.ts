// Keeps the digest of what the pool's caches hold up to date, beside the picks.
//
//   renew ──changed, 2 s over──► additions alone: written into the digest there is ─────────► published
//                            └─► removals too: built anew, a slice a turn ── slice ── slice ──┘
//
// Tables tell each key that is added, and it is put into the digest that there is and into one that is
// being built: so what is published lacks nothing that the tables hold at that moment. What they have
// removed since the last build is in it still; when that is more than a small part, all is built anew.
//
// Nothing runs by itself: nobody asks, nothing is done.

import { CacheDigestBuilder } from "../../scheduler/kv/digest/cache-digest-builder.ts";
import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";

/** Between two digests at least. */
export const DIGEST_INTERVAL_MS = 2_000;
/** Entries that are looked at in one turn: a fraction of a millisecond. */
export const DIGEST_SLICE_KEYS = 8_192;
/** Room for keys that come after the build: a tenth, and some for small pools. */
const HEADROOM = 1.1;
const HEADROOM_KEYS = 256;
/** Of the keys of a digest, how many may be gone from the caches. */
const GONE_SHARE_MAX = 1 / 64;

export interface DigestMakerOptions {
  /** What is in caches. A key may be in several. */
  readonly tables: () => readonly KeyTable[];
  /** Whether that is all that the pool knows. */
  readonly isComplete: () => boolean;
  readonly clock: Clock;
  /** Calls back in a turn of its own. */
  readonly defer: (callback: () => void) => void;
  /** Begins each version's name. */
  readonly incarnation: string;
  readonly bytesMax?: number;
  readonly onPublished: () => void;
}

export interface PublishedDigest {
  /** Equal where the content is. */
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly publishedAtMs: number;
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

export class DigestMaker {
  readonly #options: DigestMakerOptions;
  readonly #piece = new Uint32Array(DIGEST_SLICE_KEYS * 2);
  #made: Made | undefined;
  #making: Made | undefined;
  #published: PublishedDigest | undefined;
  #publishedCount = 0;
  #renewedAtMs = -Infinity;
  /** Additions and removals that the published one knows of. */
  #changesKnown = -1;

  constructor(options: DigestMakerOptions) {
    this.#options = options;
  }

  get published(): PublishedDigest | undefined {
    return this.#published;
  }

  /** Sees to a newer digest, if there is anything new and the last one is old enough. */
  renew(): void {
    const nowMs = this.#options.clock();
    if (this.#making !== undefined || nowMs - this.#renewedAtMs < DIGEST_INTERVAL_MS) return;
    const tables = this.#options.tables();
    const isComplete = this.#options.isComplete();
    const made = this.#made;
    const isSame =
      made !== undefined && made.isComplete === isComplete && areSame(tables, made.tables);
    if (isSame && changesOf(tables) === this.#changesKnown) return;
    this.#renewedAtMs = nowMs;
    if (isSame && isGoodEnough(made)) this.#publish(made);
    else this.#make(tables, isComplete);
  }

  /** Tables are listened to no more. */
  stop(): void {
    this.#making = undefined;
    this.#made = undefined;
    this.#published = undefined;
    for (const table of this.#options.tables()) table.onAdded = undefined;
  }

  #make(tables: readonly KeyTable[], isComplete: boolean): void {
    for (const table of this.#made?.tables ?? []) table.onAdded = undefined;
    const keysMax = Math.ceil(sizeOf(tables) * HEADROOM) + HEADROOM_KEYS;
    const { bytesMax } = this.#options;
    const builder = new CacheDigestBuilder({
      keyCount: keysMax,
      ...(bytesMax === undefined ? {} : { bytesMax }),
    });
    if (!isComplete) builder.leaveOut();
    const addedBefore = sum(tables, ({ addedCount }) => addedCount) - sizeOf(tables);
    const removedBefore = sum(tables, ({ removedCount }) => removedCount);
    const making = { builder, tables, isComplete, keysMax, addedBefore, removedBefore };
    this.#making = making;
    for (const table of tables) table.onAdded = (low, high) => builder.add(low, high);
    this.#read(making, 0, 0);
  }

  /** A slice of the table at `index`, and the rest later. */
  #read(making: Made, index: number, position: number): void {
    if (this.#making !== making) return;
    const table = making.tables[index];
    if (table === undefined) {
      this.#making = undefined;
      this.#made = making;
      this.#publish(making);
      return;
    }
    const { keys, next } = table.readKeys(position, this.#piece);
    making.builder.addKeys(keys);
    const isEnd = next === undefined;
    const after = isEnd ? index + 1 : index;
    this.#options.defer(() => this.#read(making, after, next ?? 0));
  }

  #publish({ builder, tables }: Made): void {
    this.#changesKnown = changesOf(tables);
    const version = `${this.#options.incarnation}:${++this.#publishedCount}`;
    const publishedAtMs = this.#options.clock();
    this.#published = { version, bytes: builder.encode(), publishedAtMs };
    this.#options.onPublished();
  }
}

/** There is room for what was added, and little of it is gone. */
function isGoodEnough({ tables, keysMax, addedBefore, removedBefore }: Made): boolean {
  const added = sum(tables, ({ addedCount }) => addedCount) - addedBefore;
  const removed = sum(tables, ({ removedCount }) => removedCount) - removedBefore;
  return added <= keysMax && removed <= keysMax * GONE_SHARE_MAX;
}

function areSame(tables: readonly KeyTable[], others: readonly KeyTable[]): boolean {
  return tables.length === others.length && tables.every((table, i) => table === others[i]);
}

function sizeOf(tables: readonly KeyTable[]): number {
  return sum(tables, ({ size }) => size);
}

function changesOf(tables: readonly KeyTable[]): number {
  return sum(tables, ({ addedCount, removedCount }) => addedCount + removedCount);
}

function sum(tables: readonly KeyTable[], value: (table: KeyTable) => number): number {
  return tables.reduce((total, table) => total + value(table), 0);
}
