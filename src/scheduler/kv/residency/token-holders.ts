// Token blocks by key, and how each endpoint holds them.
//
//   token entry ──► holder set   place 2 × slot: on the endpoint's GPUs, 2 × slot + 1: below

import { BlockTable, NONE } from "../block-table.ts";
import { HolderSets } from "../holder-sets.ts";
import { HELD_BELOW, HELD_ON_GPU, type Holding, NOT_HELD } from "./holding.ts";

/** Endpoints, or data-parallel ranks of them: each takes two places of a holder set. */
export const TOKEN_SLOTS_MAX = 1023;
/** Bytes an entry costs: see ENTRY_COST_BYTES in block-table.ts. */
export const TABLE_COST_BYTES = 22;

export class TokenHolders {
  readonly slotsMax: number;
  readonly #entriesMax: number;
  readonly #table: BlockTable;
  readonly #sets: HolderSets;
  readonly #plane: Uint32Array;
  /** By slot: 1 for one that says where hits end. */
  readonly #isEndings: Uint8Array;
  #endingsCount = 0;
  /** One past the highest entry and slot there ever was. */
  #idsEnd = 0;
  #slotsEnd = 0;

  constructor(slotsMax: number, entriesMax: number, setBytesMax: number) {
    this.slotsMax = slotsMax;
    this.#entriesMax = entriesMax;
    this.#table = new BlockTable(entriesMax * TABLE_COST_BYTES);
    this.#sets = new HolderSets(slotsMax * 2, setBytesMax);
    this.#plane = new Uint32Array(this.#sets.planeWords);
    this.#isEndings = new Uint8Array(slotsMax);
  }

  /** Whether a slot is no endpoint, but says where another one's hits end: see ContentResidency. */
  isEndings(slot: number): boolean {
    return this.#isEndings[slot] === 1;
  }

  /** Whether there are such slots. */
  get hasEndings(): boolean {
    return this.#endingsCount > 0;
  }

  /** The caller says so of a slot once, before the opposite. */
  markEndings(slot: number, isEndings: boolean): void {
    this.#isEndings[slot] = isEndings ? 1 : 0;
    this.#endingsCount += isEndings ? 1 : -1;
  }

  get byteLength(): number {
    return this.#table.byteLength + this.#sets.byteLength;
  }

  get size(): number {
    return this.#table.size;
  }

  get isFull(): boolean {
    return this.#table.size >= this.#entriesMax;
  }

  get idsEnd(): number {
    return this.#idsEnd;
  }

  /** One past the highest slot that ever held a block. */
  get slotsEnd(): number {
    return this.#slotsEnd;
  }

  find(low: number, high: number): number {
    return this.#table.find(low, high);
  }

  /** An entry that nobody holds. NONE where there is no room for it. */
  add(low: number, high: number): number {
    if (this.isFull) return NONE;
    const token = this.#table.add(low, high);
    if (token >= this.#idsEnd) this.#idsEnd = token + 1;
    return token;
  }

  /** Removes an entry that nobody holds. */
  remove(token: number): void {
    this.#table.remove(token);
  }

  /** Whether anybody holds it. */
  isHeld(token: number): boolean {
    return this.#table.payload(token) !== 0;
  }

  holding(token: number, slot: number): Holding {
    const set = this.#table.payload(token);
    if (set === 0) return NOT_HELD;
    if (this.#sets.has(set, slot * 2)) return HELD_ON_GPU;
    return this.#sets.has(set, slot * 2 + 1) ? HELD_BELOW : NOT_HELD;
  }

  /** Gives what holds afterwards: NOT_HELD if the sets' bytes are used up. */
  setHolding(token: number, slot: number, holding: Holding): Holding {
    const was = this.holding(token, slot);
    if (was === holding) return was;
    let set = this.#table.payload(token);
    if (was !== NOT_HELD) set = this.#sets.remove(set, placeOf(slot, was));
    const isTaken = holding !== NOT_HELD && this.#sets.canAdd(set);
    if (isTaken) {
      set = this.#sets.add(set, placeOf(slot, holding));
      if (slot >= this.#slotsEnd) this.#slotsEnd = slot + 1;
    }
    this.#table.setPayload(token, set);
    return isTaken ? holding : NOT_HELD;
  }

  /** Nobody holds it any more. */
  release(token: number): void {
    for (let slot = 0; slot < this.#slotsEnd; slot++) this.setHolding(token, slot, NOT_HELD);
  }

  /** Writes the slots that hold it; gives how many. `out` has room for all. */
  readSlots(token: number, out: Uint16Array): number {
    const set = this.#table.payload(token);
    if (set === 0) return 0;
    const words = (this.#slotsEnd * 2 + 31) >>> 5;
    this.#sets.toPlane(set, this.#plane, words);
    let count = 0;
    for (let word = 0; word < words; word++) {
      for (let bits = this.#plane[word]!; bits !== 0; bits &= bits - 1) {
        out[count++] = (word * 32 + 31 - Math.clz32(bits & -bits)) >>> 1;
      }
    }
    return count;
  }
}

function placeOf(slot: number, holding: typeof HELD_ON_GPU | typeof HELD_BELOW): number {
  return holding === HELD_ON_GPU ? slot * 2 : slot * 2 + 1;
}
