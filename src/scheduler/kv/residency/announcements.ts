// How often each block of a source was announced, by tier, and what that means for whether it is held.
//
//   payload   adapter (8 bits) │ disk (8) │ cpu (8) │ gpu (8)       of the group that leads
//   row       … group 8 (4 bits) │ … │ group 2 (4) │ group 1 (4)    of others that a prefix needs, on the GPU
//
// Places: 0 is the group that leads, or the only cache there is; others count from 1.

import type { BlockTable } from "../block-table.ts";
import { HELD_BELOW, HELD_ON_GPU, type Holding, NOT_HELD } from "./holding.ts";
import type { KvTier } from "./kv-event.ts";
import type { Rows } from "./rows.ts";

export const ANNOUNCEMENT_LIMITS = {
  /** Of one block on one tier. */
  countMax: 255,
  /** Of one block in a group that does not lead. */
  groupCountMax: 15,
  /** Groups that do not lead. */
  otherGroupsMax: 8,
} as const;

/** Where a tier's count stands in the payload. Tiers that are not the endpoint's own have none. */
export const TIER_SHIFTS: Partial<Record<KvTier, number>> = { gpu: 0, cpu: 8, disk: 16 };
export const ADAPTER_SHIFT = 24;
const COUNT_MASK = 0xff;
const COUNTS_MASK = 0xff_ffff;
const BELOW_MASK = 0xff_ff00;
const GROUP_BITS = 4;
const GROUP_MASK = 0xf;

export class Announcements {
  readonly #table: BlockTable;
  readonly #rows: Rows;
  readonly #word: number;

  /** `word` is the one of a row that is kept here. */
  constructor(table: BlockTable, rows: Rows, word: number) {
    this.#table = table;
    this.#rows = rows;
    this.#word = word;
  }

  /** A block that nothing announced so far. */
  begin(id: number, adapter: number): void {
    this.#table.setPayload(id, (adapter << ADAPTER_SHIFT) >>> 0);
    this.#rows.set(id, this.#word, 0);
  }

  clear(id: number): void {
    this.#table.setPayload(id, (this.#table.payload(id) & ~COUNTS_MASK) >>> 0);
    this.#rows.set(id, this.#word, 0);
  }

  /** By the group that leads on the tier at `shift`, or by another on the GPU. */
  count(id: number, shift: number, place: number): number {
    if (place === 0) return (this.#table.payload(id) >>> shift) & COUNT_MASK;
    return (this.#rows.get(id, this.#word) >>> ((place - 1) * GROUP_BITS)) & GROUP_MASK;
  }

  isFull(id: number, shift: number, place: number): boolean {
    const { countMax, groupCountMax } = ANNOUNCEMENT_LIMITS;
    return this.count(id, shift, place) === (place === 0 ? countMax : groupCountMax);
  }

  /** Counts one more or one less. The count stays within its bounds: the caller has looked. */
  add(id: number, shift: number, place: number, by: 1 | -1): void {
    if (place === 0) {
      this.#table.setPayload(id, this.#table.payload(id) + by * 2 ** shift);
      return;
    }
    const step = 2 ** ((place - 1) * GROUP_BITS);
    this.#rows.set(id, this.#word, this.#rows.get(id, this.#word) + by * step);
  }

  /** On the GPU where all of so many groups have it. */
  holding(id: number, groups: number): Holding {
    const payload = this.#table.payload(id);
    if ((payload & COUNTS_MASK) === 0) return NOT_HELD;
    let isWhole = (payload & COUNT_MASK) !== 0;
    for (let place = 1; place < groups && isWhole; place++) isWhole = this.count(id, 0, place) > 0;
    if (isWhole) return HELD_ON_GPU;
    return (payload & BELOW_MASK) === 0 ? NOT_HELD : HELD_BELOW;
  }
}
