// What endpoints are about to hold: the prompts that were just sent there, until their engines' events
// say so themselves.
//
//   claim ──ttl──► taken back      an event confirms it in the index; the claim is then without effect
//
// Paths are claimed from the first block on, so a match here is one without a gap. Lost with the object's
// memory, as is all that it would be compared with.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/preciseprefixcache. There an
// entry of one request that expires takes blocks with it which another has just claimed; here it does not.

import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import { PrefixTree } from "../../scheduler/kv/prefix-tree.ts";
import { type PrefixClaim, PrefixClaims } from "../prefix/claims.ts";

export const SPECULATION_LIMITS = {
  /** Claims that stand at once; past it the oldest goes early. */
  claimsMax: 4_096,
  /** Keys of all claims. */
  keyBytesMax: 4 * 1024 * 1024,
  treeBytesMax: 4 * 1024 * 1024,
} as const;

interface Expiring {
  readonly claim: PrefixClaim;
  readonly expiresAtMs: number;
}

export class Speculation {
  readonly #tree = new PrefixTree({ bytesMax: SPECULATION_LIMITS.treeBytesMax });
  readonly #claims = new PrefixClaims({
    learn: (keys, slot) => this.#tree.insert(keys, slot),
    forget: (keys, firstBlock, slot) =>
      this.#tree.removeHolder(keys.subarray(firstBlock * 2), slot),
  });
  /** Oldest first; from #head on. */
  #expiring: Expiring[] = [];
  #head = 0;
  #keyBytes = 0;

  /** Claims that stand. */
  get size(): number {
    return this.#expiring.length - this.#head;
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
    const { claimsMax, keyBytesMax } = SPECULATION_LIMITS;
    if (keys.length === 0 || keys.byteLength > keyBytesMax) return;
    while (this.size >= claimsMax || this.#keyBytes + keys.byteLength > keyBytesMax) {
      this.#takeBackOldest();
    }
    this.#keyBytes += keys.byteLength;
    this.#expiring.push({ claim: this.#claims.claim(keys, slot), expiresAtMs });
  }

  /** Takes back what has expired. */
  expire(nowMs: number): void {
    while (this.size > 0 && this.#expiring[this.#head]!.expiresAtMs <= nowMs) {
      this.#takeBackOldest();
    }
  }

  /** As PrefixTree.match. */
  match(keys: Uint32Array, out: Int32Array): void {
    if (this.size === 0) out.fill(0);
    else this.#tree.match(keys, out);
  }

  /** Nothing that was sent there is there any more, or the slot is free. */
  endpointRemoved(slot: number): void {
    const left = this.#expiring.slice(this.#head).filter(({ claim }) => claim.slot !== slot);
    this.#expiring = left;
    this.#head = 0;
    this.#keyBytes = left.reduce((sum, { claim }) => sum + claim.keys.byteLength, 0);
    this.#claims.endpointRemoved(slot);
    this.#tree.removeEndpoint(slot);
  }

  #takeBackOldest(): void {
    const { claim } = this.#expiring[this.#head++]!;
    this.#keyBytes -= claim.keys.byteLength;
    this.#claims.takeBack(claim);
    // Half of it is behind the head: moved once for as many steps.
    if (this.#head * 2 <= this.#expiring.length) return;
    this.#expiring = this.#expiring.slice(this.#head);
    this.#head = 0;
  }
}
