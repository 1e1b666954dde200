// The prefix journal's rows: keys and values of the object's SQLite, beside the SQL tables.
//
// Keys and values, because only they can be written unconfirmed: replies do not wait until such a
// write is durable (workerd pull request 5138; SQL has no such option). Writes stay in order, so
// what a crash takes is the end of the journal. In one turn with a confirmed write, replies wait.

import type { JournalStore } from "./journal.ts";

const ROW_PREFIX = "prefix-journal/row/";
const ENDPOINTS_KEY = "prefix-journal/endpoints";
/** Keys sort as text. */
const SEQ_DIGITS = 15;
const UNCONFIRMED = { allowUnconfirmed: true } as const;

export class JournalStorage implements JournalStore {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  journalRow(seq: number): { readonly seq: number; readonly value: unknown } | undefined {
    const [row] = this.#storage.kv.list({ prefix: ROW_PREFIX, startAfter: keyOf(seq), limit: 1 });
    if (row === undefined) return undefined;
    return { seq: Number(row[0].slice(ROW_PREFIX.length)), value: row[1] };
  }

  putJournal(seq: number, value: Uint8Array<ArrayBuffer>): void {
    this.#put(keyOf(seq), value);
  }

  deleteJournal(seq: number): void {
    this.#storage.delete(keyOf(seq), UNCONFIRMED).catch(ignoreBroken);
  }

  journalEndpoints(): unknown {
    return this.#storage.kv.get(ENDPOINTS_KEY);
  }

  putJournalEndpoints(value: unknown): void {
    this.#put(ENDPOINTS_KEY, value);
  }

  #put(key: string, value: unknown): void {
    this.#storage.put(key, value, UNCONFIRMED).catch(ignoreBroken);
  }
}

function keyOf(seq: number): string {
  return ROW_PREFIX + String(seq).padStart(SEQ_DIGITS, "0");
}

/** A failed write breaks the object: the runtime ends it and reports why. */
function ignoreBroken(): void {}
