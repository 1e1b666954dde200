// What a pool believes of its endpoints' caches: the prefix tree, and the journal that brings it back.

import { ApproximatePrefix, type CapacityRule } from "../../scheduler/kv/approximate-prefix.ts";
import { PrefixTree } from "../../scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { PrefixLearner } from "./claims.ts";
import { type JournalStore, PrefixJournal } from "./journal.ts";

/** Rows of the journal that are read before the first pick; a small pool has no more. */
const RESTORE_ROWS_AT_ONCE = 8;

export interface PrefixMemoryOptions {
  readonly store: JournalStore;
  /** Holds the endpoints that the object remembers. */
  readonly table: EndpointTable;
  readonly clock: Clock;
}

export class PrefixMemory implements PrefixLearner {
  readonly tree = new PrefixTree();
  readonly journal: PrefixJournal;
  readonly #prefix = new ApproximatePrefix(this.tree, ENDPOINTS_MAX);
  readonly #table: EndpointTable;

  constructor({ store, table, clock }: PrefixMemoryOptions) {
    this.#table = table;
    this.journal = new PrefixJournal({ store, prefix: this.#prefix, table, clock });
  }

  /** Puts rows of the journal back into the tree; later ones one at a time, between picks. */
  restore(rows = RESTORE_ROWS_AT_ONCE): void {
    for (let row = 0; row < rows && !this.journal.isRestored; row++) this.journal.restoreRow();
    if (!this.journal.isRestored) setTimeout(() => this.restore(1), 0);
  }

  /** How much of an endpoint is remembered; see ApproximatePrefix.setRule. */
  setCapacityRule(rule: CapacityRule): void {
    this.#prefix.setRule(rule);
  }

  learn(keys: Uint32Array, slot: number): number {
    const held = this.#prefix.learn(keys, slot, this.#table.columns.kvCapacityTokens[slot]!);
    this.journal.learned(keys, slot, held);
    return held;
  }

  forget(keys: Uint32Array, firstBlock: number, slot: number): void {
    this.#prefix.unlearn(keys, slot, firstBlock);
    this.journal.forgotten(keys.subarray(firstBlock * 2), slot);
  }

  /** The slot is about to be given to another endpoint. */
  endpointRemoved(slot: number): void {
    this.#prefix.removeEndpoint(slot);
    this.journal.endpointRemoved(slot);
  }
}
