// What a Rekeyer keeps of each block: an entry of a table, with a row of words, and which of them nothing holds.
//
//   row   state low │ state high │ two words of the unheld list, the first with the block's offset │ counts of groups

import { BlockTable, ENTRY_COST_BYTES, NONE } from "../block-table.ts";
import { ADAPTER_SHIFT, Announcements } from "./announcements.ts";
import { NOT_HELD } from "./holding.ts";
import { CHUNK_ROWS, Rows } from "./rows.ts";
import type { BlockWalk } from "./block-walk.ts";
import { keyHigh, keyLow } from "./token-keys.ts";
import { LINK_BITS, UnheldList } from "./unheld-list.ts";

/** Words of a row. */
const STATE_LOW = 0;
const STATE_HIGH = 1;
/** Two words of the list of those that nothing holds. The first one's top bits are the block's offset. */
const UNHELD = 2;
const OFFSET_SHIFT = LINK_BITS;
const GROUP_COUNTS = 4;
const ROW_WORDS = 5;
const COST_BYTES = ENTRY_COST_BYTES + ROW_WORDS * 4;

/** How many entries so many bytes have room for, where each costs so many more than its own. */
export function entriesOf(bytesMax: number, moreBytes = 0): number {
  const entriesMax = Math.max(1, Math.floor(bytesMax / (COST_BYTES + moreBytes)));
  // A chunk of rows that is not used up costs as much as one that is.
  return entriesMax - (entriesMax > CHUNK_ROWS ? entriesMax % CHUNK_ROWS : 0);
}

export class RekeyerEntries {
  readonly table: BlockTable;
  readonly rows = new Rows(ROW_WORDS);
  readonly announcements: Announcements;
  readonly unheld = new UnheldList(this.rows, UNHELD);
  readonly #entriesMax: number;
  readonly #key = new Uint32Array(2);

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    this.table = new BlockTable(entriesMax * ENTRY_COST_BYTES);
    this.announcements = new Announcements(this.table, this.rows, GROUP_COUNTS);
  }

  get byteLength(): number {
    return this.table.byteLength + this.rows.byteLength;
  }

  /** The entry of an engine's hash. Engines may count instead of hashing; the table needs keys whose bits are spread. */
  find(hashLow: number, hashHigh: number): number {
    return this.table.find(keyLow(hashLow), keyHigh(hashLow, hashHigh));
  }

  /** NONE where there is no room. */
  add(hashLow: number, hashHigh: number): number {
    return this.table.add(keyLow(hashLow), keyHigh(hashLow, hashHigh));
  }

  /** An entry in no list is of the block at whose end the walk stands, which nothing holds. */
  place(id: number, adapter: number, walk: BlockWalk): void {
    this.announcements.begin(id, adapter);
    this.rows.set(id, STATE_LOW, walk.stateLow);
    this.rows.set(id, STATE_HIGH, walk.stateHigh);
    this.rows.set(id, UNHELD, walk.offset * 2 ** OFFSET_SHIFT);
    this.unheld.push(id);
  }

  /** Whether it is of the block at whose end the walk stands. */
  isAt(id: number, adapter: number, walk: BlockWalk): boolean {
    return (
      this.rows.get(id, STATE_LOW) === walk.stateLow >>> 0 &&
      this.rows.get(id, STATE_HIGH) === walk.stateHigh >>> 0 &&
      this.adapter(id) === adapter
    );
  }

  /** The walk goes on behind the block. */
  resume(id: number, walk: BlockWalk): void {
    walk.resume(this.rows.get(id, STATE_LOW), this.rows.get(id, STATE_HIGH), this.offset(id));
  }

  adapter(id: number): number {
    return this.table.payload(id) >>> ADAPTER_SHIFT;
  }

  /** Where in its tokens' row of keys the block ends. */
  offset(id: number): number {
    return this.rows.get(id, UNHELD) >>> OFFSET_SHIFT;
  }

  /** What requests with the block's tokens have as its key. */
  tokenKey(id: number): { readonly low: number; readonly high: number } {
    const stateLow = this.rows.get(id, STATE_LOW);
    return { low: keyLow(stateLow), high: keyHigh(stateLow, this.rows.get(id, STATE_HIGH)) };
  }

  /**
   * The same with ids from 0 on, as one that is free costs what another does. `groups`: of whose counts it follows
   * whether a block is held. Undefined where a key finds no place. O(entries).
   */
  compacted(groups: number): RekeyerEntries | undefined {
    const next = new RekeyerEntries(this.#entriesMax);
    for (let id = 0; id < this.table.idsEnd; id++) {
      if (this.announcements.holding(id, groups) === NOT_HELD) continue;
      if (this.#copy(id, next) === NONE) return undefined;
    }
    for (let id = this.unheld.oldest; id !== NONE; id = this.unheld.newer(id)) {
      const copy = this.#copy(id, next);
      if (copy === NONE) return undefined;
      next.unheld.push(copy);
    }
    return next;
  }

  #copy(id: number, next: RekeyerEntries): number {
    this.table.readKey(id, this.#key, 0);
    const copy = next.table.add(this.#key[0]!, this.#key[1]!);
    if (copy === NONE) return NONE;
    next.table.setPayload(copy, this.table.payload(id));
    for (let word = 0; word < ROW_WORDS; word++) {
      next.rows.set(copy, word, this.rows.get(id, word));
    }
    // Links are of the old ids.
    next.rows.set(copy, UNHELD, this.offset(id) * 2 ** OFFSET_SHIFT);
    next.rows.set(copy, UNHELD + 1, 0);
    return copy;
  }
}
