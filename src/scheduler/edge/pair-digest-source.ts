// The object's side of the digest over pairs: tells each isolate what its copy lacks.
//
//   version   incarnation : build : pairs added since the build
//   of this build, and the list goes back that far    the added pairs, where they are less than the whole
//   else                                              the whole, as of now
//
// So a copy is as fresh as the snapshot that it comes with. Removals come with the next build. Nothing runs by
// itself: an isolate that asks starts the first build, and has no digest until that is done.

import type { KeyTable } from "../kv/block-table.ts";
import { LiveDigest } from "../kv/digest/live-digest.ts";
import type { Clock } from "../support/clock.ts";
import { AddedPairs } from "./added-pairs.ts";
import type { EdgeDigest } from "./contracts.ts";

/** Of the digest's bits; docs/decisions/052-replica-and-pair-digest.md has the curve. */
export const PAIR_DIGEST_BYTES = 128 * 1024;
/**
 * Of the pairs, how many may be gone from the caches. A pair that is gone makes an endpoint look as if it held
 * a prompt's end still; a new build makes every isolate take the whole again.
 */
export const GONE_SHARE_MAX = 1 / 32;
/** Between two looks at whether a new build is due. */
const RENEW_INTERVAL_MS = 1_000;

export interface PairDigestSourceOptions {
  /** Pairs in caches, as PrefixTree.pairs. A pair may be in several; each table is for this digest alone. */
  readonly tables: () => readonly KeyTable[];
  /** Whether that is all that the object knows. */
  readonly isComplete: () => boolean;
  readonly clock: Clock;
  /** Calls back in a turn of its own. */
  readonly defer: (callback: () => void) => void;
  /** Begins each version: random at each start of the object. */
  readonly incarnation: string;
  /** One past the highest slot in use. */
  readonly slotsEnd: () => number;
  readonly bytesMax?: number;
}

export class PairDigestSource {
  readonly #options: PairDigestSourceOptions;
  readonly #digest: LiveDigest;
  readonly #added = new AddedPairs();
  #build = 0;
  #renewedAtMs = -Infinity;
  /** A slot is another endpoint's, or its cache is void. */
  #isVoid = false;

  constructor(options: PairDigestSourceOptions) {
    this.#options = options;
    const { tables, isComplete, defer, bytesMax = PAIR_DIGEST_BYTES } = options;
    this.#digest = new LiveDigest({
      tables,
      isComplete,
      defer,
      bytesMax,
      goneShareMax: GONE_SHARE_MAX,
      onBuilt: () => this.#built(),
      onAdded: (low, high) => this.#added.add(low, high),
    });
  }

  /** What a copy of version `known` lacks; undefined where that is nothing, or there is no digest yet. */
  part(known: string): EdgeDigest | undefined {
    this.#renew();
    const builder = this.#digest.builder;
    if (builder === undefined) return undefined;
    const version = `${this.#options.incarnation}:${this.#build}:${this.#added.end}`;
    if (version === known) return undefined;
    const slotsEnd = this.#options.slotsEnd();
    const added = this.#since(known);
    if (added !== undefined && added.byteLength < builder.byteLength)
      return { version, added, slotsEnd };
    return { version, bytes: builder.encode(), slotsEnd };
  }

  /** What `slot` held is gone: an endpoint has left, or its engine has started anew. */
  slotVoid(): void {
    this.#isVoid = true;
  }

  /** Tables are listened to no more. */
  stop(): void {
    this.#digest.stop();
  }

  #since(known: string): Uint32Array | undefined {
    const prefix = `${this.#options.incarnation}:${this.#build}:`;
    return known.startsWith(prefix)
      ? this.#added.since(Number(known.slice(prefix.length)))
      : undefined;
  }

  #renew(): void {
    const nowMs = this.#options.clock();
    const isFirst = this.#digest.builder === undefined;
    if (this.#digest.isBuilding) return;
    if (!isFirst && nowMs - this.#renewedAtMs < RENEW_INTERVAL_MS) return;
    this.#renewedAtMs = nowMs;
    if (!this.#isVoid) return void this.#digest.renew();
    this.#isVoid = false;
    this.#digest.rebuild();
  }

  #built(): void {
    this.#build += 1;
    this.#added.clear();
  }
}
