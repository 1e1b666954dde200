// What an isolate itself has sent where, or was told to send, lately: the object's digest has it later.
//
//   learn ──► newer ──each half of the lifetime──► older ──► gone        two trees; a match looks at both
//
// A prompt is forgotten between half of the lifetime and all of it after it was last sent: by then the object
// knows it, or its engine has dropped it.

import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import { PrefixTree } from "../kv/prefix-tree.ts";

/** How long a prompt that was sent somewhere counts as being there. */
export const RECENT_PREFIXES_MS = 30_000;
/** Of each of the two trees; past it the coldest blocks go. */
const TREE_BYTES_MAX = 1024 * 1024;

export class RecentPrefixes {
  #newer: PrefixTree | undefined;
  #older: PrefixTree | undefined;
  #turnsAtMs = -Infinity;
  readonly #matched = new Int32Array(ENDPOINTS_MAX);

  learn(keys: Uint32Array, slot: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#newer ??= new PrefixTree({ bytesMax: TREE_BYTES_MAX });
    this.#newer.insert(keys, slot);
  }

  /** Raises `matchedBlocks[slot]` to what was sent there lately. */
  raise(keys: Uint32Array, matchedBlocks: Int32Array, nowMs: number): void {
    this.#turn(nowMs);
    for (const tree of [this.#newer, this.#older]) {
      if (tree === undefined || tree.blockCount === 0) continue;
      const matched = this.#matched;
      tree.match(keys, matched);
      const end = Math.min(matched.length, matchedBlocks.length);
      for (let slot = 0; slot < end; slot++) {
        if (matched[slot]! > matchedBlocks[slot]!) matchedBlocks[slot] = matched[slot]!;
      }
    }
  }

  get byteLength(): number {
    return (this.#newer?.byteLength ?? 0) + (this.#older?.byteLength ?? 0);
  }

  /** Its cache is void, or the slot is free. */
  forget(slot: number): void {
    this.#newer?.removeEndpoint(slot);
    this.#older?.removeEndpoint(slot);
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#turnsAtMs) return;
    const isLongAgo = nowMs >= this.#turnsAtMs + RECENT_PREFIXES_MS / 2;
    this.#older = isLongAgo ? undefined : this.#newer;
    this.#newer = undefined;
    this.#turnsAtMs = nowMs + RECENT_PREFIXES_MS / 2;
  }
}
