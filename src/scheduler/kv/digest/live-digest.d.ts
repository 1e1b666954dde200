import type { KeyTable } from "../block-table.ts";
import { CacheDigestBuilder } from "./cache-digest-builder.ts";
/** Entries that are looked at in one turn: a fraction of a millisecond. */
export declare const DIGEST_SLICE_KEYS = 8192;
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
export declare class LiveDigest {
  #private;
  constructor(options: LiveDigestOptions);
  /** The digest there is. */
  get builder(): CacheDigestBuilder | undefined;
  get isBuilding(): boolean;
  /** Additions to its tables and removals, since the beginning of those; NaN where it is of other tables. */
  get changes(): number;
  /** Whether the one there is will do. If not, another is being built from now on, unless one is already. */
  renew(): boolean;
  /** All is built anew, whatever has been built up to now. */
  rebuild(): void;
  /** Tables are listened to no more. */
  stop(): void;
}
