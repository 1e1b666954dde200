// What an isolate knows of who holds which prefix: the object's digest over pairs, and what it has sent itself.
//
//   likely[slot] = max(digest, own recent prefixes)
//   bound[slot]  = max(digest's first no, own recent prefixes)      all of the prompt without a digest
//
// A source of prefix matches for plugins; and, after a pick, what the pick cannot have known.

import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { EdgeDigest } from "./contracts.ts";
import { PairDigest } from "./pair-digest.ts";
import { RecentPrefixes } from "./recent-prefixes.ts";

/** The endpoints that are asked about. */
export interface ReplicaSlots {
  readonly slotCount: number;
  readonly isPresent: Uint8Array;
}

/** In blocks, of a prompt. */
export interface MissedBlocks {
  /** What the endpoint was taken to hold. */
  readonly known: number;
  /** `known`, and the most that the pick may have missed anywhere: see consult-rule.ts. */
  readonly possible: number;
}

export class ReplicaKnowledge {
  readonly recent = new RecentPrefixes();
  #digest: PairDigest | undefined;
  #version = "";
  #slotsEnd = 0;
  /** The last prompt that was looked up, and when; and by slot, what came of it. */
  #keys: Uint32Array | undefined;
  #lookedAtMs = -Infinity;
  readonly #likely = new Int32Array(ENDPOINTS_MAX);
  readonly #bounds = new Int32Array(ENDPOINTS_MAX);

  /** Version of the digest; "": none. */
  get version(): string {
    return this.#version;
  }

  get digest(): PairDigest | undefined {
    return this.#digest;
  }

  /** False where it is to be put into a digest that is not there: then there is none. */
  take(told: EdgeDigest): boolean {
    this.#keys = undefined;
    if (told.bytes !== undefined) this.#digest = PairDigest.decode(told.bytes);
    if (this.#digest === undefined) {
      this.forgetDigest();
      return false;
    }
    if (told.added !== undefined) this.#digest.add(told.added);
    this.#slotsEnd = Math.min(ENDPOINTS_MAX, told.slotsEnd ?? ENDPOINTS_MAX);
    this.#version = told.version;
    return true;
  }

  forgetDigest(): void {
    this.#digest = undefined;
    this.#version = "";
    this.#keys = undefined;
  }

  /** A prompt was sent there. */
  learn(keys: Uint32Array, slot: number, nowMs: number): void {
    this.#keys = undefined;
    this.recent.learn(keys, slot, nowMs);
  }

  /** The slot is another endpoint's, or nobody's. */
  forgetSlot(slot: number): void {
    this.#keys = undefined;
    this.recent.forget(slot);
  }

  /** As PrefixSources.approximate. */
  match(keys: Uint32Array, matchedBlocks: Int32Array, at: ReplicaSlots & { nowMs: number }): void {
    this.#look(keys, at);
    matchedBlocks.set(this.#likely.subarray(0, matchedBlocks.length));
  }

  /** What the pick of `slot` for this prompt may have missed. `leftOut`: endpoints that are not in the replica. */
  missed(
    keys: Uint32Array,
    slot: number,
    at: ReplicaSlots & { nowMs: number; leftOut: number },
  ): MissedBlocks {
    // A pick has looked it up already, unless a plugin asks about a part of the prompt only.
    if (this.#keys !== keys) this.#look(keys, at);
    const known = this.#likely[slot]!;
    let most = 0;
    for (let other = 0; other < at.slotCount; other++) {
      if (at.isPresent[other] === 1)
        most = Math.max(most, this.#bounds[other]! - this.#likely[other]!);
    }
    if (at.leftOut > 0) most = Math.max(most, this.#leftOutBound(keys, at) - known);
    return { known, possible: Math.min(keys.length >>> 1, known + most) };
  }

  /** No endpoint of the pool held more of the prompt at the snapshot's moment. */
  possibleBlocks(keys: Uint32Array, at: ReplicaSlots & { nowMs: number; leftOut: number }): number {
    this.#look(keys, at);
    let most = at.leftOut > 0 ? this.#leftOutBound(keys, at) : 0;
    for (let slot = 0; slot < at.slotCount; slot++)
      if (at.isPresent[slot] === 1) most = Math.max(most, this.#bounds[slot]!);
    return most;
  }

  // Hot path: pair-digest in bench/.
  #look(
    keys: Uint32Array,
    { slotCount, isPresent, nowMs }: ReplicaSlots & { nowMs: number },
  ): void {
    if (keys === this.#keys && nowMs === this.#lookedAtMs) return;
    const digest = this.#digest;
    this.#keys = keys;
    this.#lookedAtMs = nowMs;
    digest?.ask(keys);
    for (let slot = 0; slot < slotCount; slot++) {
      if (digest !== undefined && isPresent[slot] === 1) {
        digest.match(slot, this.#likely, this.#bounds);
        continue;
      }
      this.#likely[slot] = 0;
      this.#bounds[slot] = keys.length >>> 1;
    }
    this.#likely.fill(0, slotCount);
    this.recent.raise(keys, this.#likely, nowMs);
    for (let slot = 0; slot < slotCount; slot++)
      if (this.#bounds[slot]! < this.#likely[slot]!) this.#bounds[slot] = this.#likely[slot]!;
  }

  /** After a look-up of the same prompt. */
  #leftOutBound(keys: Uint32Array, { slotCount, isPresent }: ReplicaSlots): number {
    if (this.#digest === undefined) return keys.length >>> 1;
    let most = 0;
    for (let slot = 0; slot < this.#slotsEnd; slot++) {
      if (slot < slotCount && isPresent[slot] === 1) continue;
      this.#digest.match(slot, LEFT_OUT, LEFT_OUT_BOUNDS);
      most = Math.max(most, LEFT_OUT_BOUNDS[slot]!);
    }
    return most;
  }
}

/** Scratch, of endpoints that are not in a replica. */
const LEFT_OUT = new Int32Array(ENDPOINTS_MAX);
const LEFT_OUT_BOUNDS = new Int32Array(ENDPOINTS_MAX);
