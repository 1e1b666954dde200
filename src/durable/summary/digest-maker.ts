// Keeps the digest of what the pool's caches hold up to date, beside the picks.
//
//   renew ──changed, 2 s over──► the one there is will do ──────────────► published
//                            └─► built anew, a slice a turn ── slice ──┘
//
// What is published lacks nothing that the tables hold at that moment; see LiveDigest. Nothing runs by itself:
// nobody asks, nothing is done.

import { LiveDigest } from "../../scheduler/kv/digest/live-digest.ts";
import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";

/** Between two digests at least. */
export const DIGEST_INTERVAL_MS = 2_000;
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

export class DigestMaker {
  readonly #options: DigestMakerOptions;
  readonly #digest: LiveDigest;
  #published: PublishedDigest | undefined;
  #publishedCount = 0;
  #renewedAtMs = -Infinity;
  /** Additions and removals that the published one knows of. */
  #changesKnown = Number.NaN;

  constructor(options: DigestMakerOptions) {
    this.#options = options;
    const { tables, isComplete, defer, bytesMax } = options;
    const goneShareMax = GONE_SHARE_MAX;
    const onBuilt = () => this.#publish();
    this.#digest = new LiveDigest({ tables, isComplete, defer, bytesMax, goneShareMax, onBuilt });
  }

  get published(): PublishedDigest | undefined {
    return this.#published;
  }

  /** Sees to a newer digest, if there is anything new and the last one is old enough. */
  renew(): void {
    const nowMs = this.#options.clock();
    if (this.#digest.isBuilding || nowMs - this.#renewedAtMs < DIGEST_INTERVAL_MS) return;
    if (this.#digest.changes === this.#changesKnown) return;
    this.#renewedAtMs = nowMs;
    if (this.#digest.renew()) this.#publish();
  }

  /** Tables are listened to no more. */
  stop(): void {
    this.#digest.stop();
    this.#published = undefined;
  }

  #publish(): void {
    this.#changesKnown = this.#digest.changes;
    const version = `${this.#options.incarnation}:${++this.#publishedCount}`;
    const publishedAtMs = this.#options.clock();
    this.#published = { version, bytes: this.#digest.builder!.encode(), publishedAtMs };
    this.#options.onPublished();
  }
}
