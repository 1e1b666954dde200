// What flows owe each other, kept for an object that loses its memory: so a restart forgives nobody.
//
// One row among the object's keys and values, because only they can be written unconfirmed: no reply
// waits until it is durable. It is written coarsely, and a restart may forget the last seconds.

import type { FlowDebt } from "../../scheduler/flow-control/debts.ts";

const KEY = "flow-debts";
/** Between two writes. */
export const DEBTS_WRITE_MS = 10_000;
/** Debts of a life that ended longer ago would be held against the wrong rivals. */
export const DEBTS_KEPT_MS = 60_000;

interface StoredDebts {
  /** Unix ms. */
  readonly atMs: number;
  readonly debts: readonly FlowDebt[];
}

export class KeptDebts {
  readonly #storage: DurableObjectStorage;
  #writtenAtMs = -Infinity;
  #isEmpty = true;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Those of the life before, if it ended just now. */
  read(nowMs: number): readonly FlowDebt[] {
    const stored = this.#storage.kv.get<StoredDebts>(KEY);
    if (stored === undefined) return [];
    this.#isEmpty = false;
    return nowMs - stored.atMs < DEBTS_KEPT_MS ? stored.debts : [];
  }

  /** Writes them if it is time. */
  keep(queue: { debts(): readonly FlowDebt[] } | undefined, nowMs: number): void {
    if (queue === undefined || nowMs - this.#writtenAtMs < DEBTS_WRITE_MS) return;
    setTimeout(() => this.#write(queue.debts(), nowMs), 0);
  }

  /** In a turn without a confirmed write: beside one, replies would wait for both. */
  #write(debts: readonly FlowDebt[], nowMs: number): void {
    if (debts.length === 0 && this.#isEmpty) return;
    this.#writtenAtMs = nowMs;
    this.#isEmpty = debts.length === 0;
    const stored: StoredDebts = { atMs: nowMs, debts };
    // A failed write breaks the object: the runtime ends it and reports why.
    this.#storage.put(KEY, stored, { allowUnconfirmed: true }).catch(() => undefined);
  }
}
