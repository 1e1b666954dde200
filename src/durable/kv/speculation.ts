// What endpoints are about to hold: the prompts that were just sent there, until their engines' events
// say so themselves.
//
//   claim ──┬── all of it was told ──────────────────────────► confirmed: events speak for it from now on
//           ├── not sent after all, or nothing came of it ───► withdrawn
//           ├── read, told of since, and what the endpoint
//           │   does not hold of it is known elsewhere ──────► contradicted
//           └── ttl ─────────────────────────────────────────► taken back
//
// A claim that ended by being confirmed does not outlive an eviction, as one that ends by time does. Blocks
// that nobody holds contradict nothing: what their content became may not be learned yet.
//
// Paths are claimed from the first block on, so a match here is one without a gap. Lost with the object's
// memory, as is all that it would be compared with.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/preciseprefixcache. There an
// entry of one request that expires takes blocks with it which another has just claimed, and nothing but time
// ends one; here neither is so.

import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import { PrefixTree } from "../../scheduler/kv/prefix-tree.ts";
import { type PrefixClaim, PrefixClaims } from "../prefix/claims.ts";

export const SPECULATION_LIMITS = {
  /** Claims that stand at once; past it the oldest goes early. */
  claimsMax: 4_096,
  /** Keys of all claims. */
  keyBytesMax: 4 * 1024 * 1024,
  treeBytesMax: 4 * 1024 * 1024,
  /** Claims of an endpoint that are looked at each time that it is told of; the others have their turn the next time. */
  lookedAtMax: 32,
  /** From when a prompt was read until its blocks have been told, where what its content became is known. */
  toldAfterMs: 500,
} as const;

/** Claims that have ended and may be remembered whatever stands. */
const ENDED_KEPT = 64;

/** What was told of endpoints. */
export interface ToldBlocks {
  /** Blocks of a path that the endpoint holds without a gap from the first. O(blocks). */
  heldOf(slot: number, keys: Uint32Array): number;
  /** Whether it holds the path's last block. */
  holdsEnd(slot: number, keys: Uint32Array): boolean;
  /** Whether any endpoint holds a block. */
  isKnown(low: number, high: number): boolean;
}

/** How claims ended, since the beginning. Closed set; a metric label. */
export type ClaimEnd = "confirmed" | "contradicted" | "withdrawn" | "expired";

interface Standing {
  readonly claim: PrefixClaim;
  readonly expiresAtMs: number;
  /** The endpoint has read the prompt: when that was known. Undefined before, and once it was judged by it. */
  readAtMs: number | undefined;
  hasEnded: boolean;
}

export class Speculation {
  readonly ends: Record<ClaimEnd, number> = {
    confirmed: 0,
    contradicted: 0,
    withdrawn: 0,
    expired: 0,
  };
  readonly #tree = new PrefixTree({ bytesMax: SPECULATION_LIMITS.treeBytesMax });
  readonly #claims = new PrefixClaims({
    learn: (keys, slot) => this.#tree.insert(keys, slot),
    forget: (keys, firstBlock, slot) =>
      this.#tree.removeHolder(keys.subarray(firstBlock * 2), slot),
  });
  /** Oldest first, from #head on; with some that have ended early. */
  #expiring: Standing[] = [];
  #head = 0;
  /** Who was looked at longest ago comes first. */
  readonly #bySlot = new Map<number, Set<Standing>>();
  #size = 0;
  #keyBytes = 0;

  /** Claims that stand. */
  get size(): number {
    return this.#size;
  }

  /** Those that are remembered: they, and no more than as many that have ended, and a few. */
  get kept(): number {
    return this.#expiring.length;
  }

  /** Of all prompts that are claimed. */
  get keys(): KeyTable {
    return this.#tree.keys;
  }

  /** The same by endpoint. */
  get pairs(): KeyTable {
    return this.#tree.pairs;
  }

  /** The prompt is on its way. `keys` are kept until then and must not change. */
  claim(keys: Uint32Array, slot: number, expiresAtMs: number): void {
    this.#stand(keys, slot, { expiresAtMs, readAtMs: undefined });
  }

  /** The endpoint has read the prompt just now: it counts as there for as long again. */
  read(keys: Uint32Array, slot: number, { nowMs, ttlMs }: { nowMs: number; ttlMs: number }): void {
    this.#endOne(keys, slot);
    this.#stand(keys, slot, { expiresAtMs: nowMs + ttlMs, readAtMs: nowMs });
  }

  /** The prompt was not sent there after all, or was not read: one claim of it ends. */
  withdraw(keys: Uint32Array, slot: number): void {
    if (this.#endOne(keys, slot)) this.ends.withdrawn++;
  }

  /** More was told of what the endpoint holds; `isWhole`: nothing of it is missing. */
  told(slot: number, blocks: ToldBlocks, { nowMs, isWhole }: { nowMs: number; isWhole: boolean }) {
    const standing = this.#bySlot.get(slot);
    if (standing === undefined) return;
    const looked = [...take(standing, SPECULATION_LIMITS.lookedAtMax)];
    for (const each of looked) {
      const end = endOf(each, blocks, isWhole ? nowMs : undefined);
      if (end !== undefined) {
        this.ends[end]++;
        this.#end(each);
        continue;
      }
      standing.delete(each);
      standing.add(each);
    }
  }

  /** Takes back what has expired. */
  expire(nowMs: number): void {
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest()) {
      if (oldest.expiresAtMs > nowMs) return;
      this.ends.expired++;
      this.#end(oldest);
    }
  }

  /** As PrefixTree.match. */
  match(keys: Uint32Array, out: Int32Array): void {
    if (this.size === 0) out.fill(0);
    else this.#tree.match(keys, out);
  }

  /** Nothing that was sent there is there any more, or the slot is free. */
  endpointRemoved(slot: number): void {
    for (const each of this.#bySlot.get(slot) ?? []) this.#forget(each);
    this.#bySlot.delete(slot);
    this.#claims.endpointRemoved(slot);
    this.#tree.removeEndpoint(slot);
  }

  #stand(keys: Uint32Array, slot: number, times: Pick<Standing, "expiresAtMs" | "readAtMs">): void {
    const { claimsMax, keyBytesMax } = SPECULATION_LIMITS;
    if (keys.length === 0 || keys.byteLength > keyBytesMax) return;
    while (this.#size >= claimsMax || this.#keyBytes + keys.byteLength > keyBytesMax) {
      this.ends.expired++;
      this.#end(this.#oldest()!);
    }
    this.#size++;
    this.#keyBytes += keys.byteLength;
    const standing = { claim: this.#claims.claim(keys, slot), ...times, hasEnded: false };
    this.#expiring.push(standing);
    const beside = this.#bySlot.get(slot);
    if (beside === undefined) this.#bySlot.set(slot, new Set([standing]));
    else beside.add(standing);
  }

  /** Ends one claim of the same prompt at the same endpoint. False where none stands. */
  #endOne(keys: Uint32Array, slot: number): boolean {
    for (const each of this.#bySlot.get(slot) ?? []) {
      if (!isSamePath(each.claim.keys, keys)) continue;
      this.#end(each);
      return true;
    }
    return false;
  }

  #end(standing: Standing): void {
    const { claim } = standing;
    this.#forget(standing);
    const beside = this.#bySlot.get(claim.slot);
    beside?.delete(standing);
    if (beside?.size === 0) this.#bySlot.delete(claim.slot);
    this.#claims.takeBack(claim);
  }

  #forget(standing: Standing): void {
    standing.hasEnded = true;
    this.#size--;
    this.#keyBytes -= standing.claim.keys.byteLength;
    this.#compact();
  }

  /** Amortised O(1): at least half of what is gone through goes. */
  #compact(): void {
    if (this.#expiring.length <= 2 * this.#size + ENDED_KEPT) return;
    this.#expiring = this.#expiring.filter((each) => !each.hasEnded);
    this.#head = 0;
  }

  /** The oldest that stands. Amortised O(1). */
  #oldest(): Standing | undefined {
    while (this.#expiring[this.#head]?.hasEnded === true) this.#head++;
    return this.#expiring[this.#head];
  }
}

/** What events say of a claim; undefined where it stands. `nowMs` where nothing is missing of what was told. */
function endOf(
  standing: Standing,
  blocks: ToldBlocks,
  nowMs: number | undefined,
): ClaimEnd | undefined {
  const { keys, slot } = standing.claim;
  const count = keys.length >>> 1;
  if (blocks.holdsEnd(slot, keys) && blocks.heldOf(slot, keys) === count) return "confirmed";
  const { readAtMs } = standing;
  const isDue = readAtMs !== undefined && nowMs !== undefined;
  if (!isDue || nowMs < readAtMs + SPECULATION_LIMITS.toldAfterMs) return undefined;
  // Once: it costs a look-up of the path.
  standing.readAtMs = undefined;
  const held = blocks.heldOf(slot, keys);
  const isKnown = held < count && blocks.isKnown(keys[held * 2]!, keys[held * 2 + 1]!);
  return isKnown ? "contradicted" : undefined;
}

/** Keys name their whole path: the last ones tell. */
function isSamePath(a: Uint32Array, b: Uint32Array): boolean {
  const { length } = a;
  return length === b.length && a[length - 2] === b[length - 2] && a[length - 1] === b[length - 1];
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    if (left-- === 0) return;
    yield item;
  }
}
