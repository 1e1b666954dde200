// What one endpoint holds, and what of it the object was told: by key, both, so that only what differs
// has to be said.
//
//   payload   · q tt ssssssssssssssssssssssssssss      s: how each rank holds it, two bits each
//             31 30 28 27                       0      t: as told; q: it is in the queue
//
// What changes is queued. An addition and a removal before it is sent leave nothing to say. Past
// QUEUE_MAX changes the queue is dropped, and the table is walked for what differs: what cannot be sent
// takes no memory but the table's. A new stream is such a walk, with nothing told.
//
// An endpoint with several ranks holds a block when one of them does, as best as that one: which rank a
// request gets to is the engine's own choice.

import { BlockTable, NONE } from "../../../scheduler/kv/block-table.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../scheduler/kv/residency/holding.ts";
import { KV_EVENT_LIMITS } from "../../../scheduler/kv/residency/kv-event.ts";
import type { SectionBuffer } from "./section-buffer.ts";

export const MIRROR_LIMITS = {
  /**
   * Of one endpoint: more than accounts have of content, or of the tokens of a rank, so that several ranks'
   * tokens alone can be too many. Memory is taken as keys come.
   */
  keysMax: 1_200_000,
  /** Ranks of one endpoint that are told apart: ranks are below it. */
  ranksMax: KV_EVENT_LIMITS.ranksPerEndpointMax,
  /** Changes that wait to be sent, before the table is walked instead. */
  queueMax: 16_384,
} as const;

/** Of its bound, what must be free before a mirror that lacks keys is filled again. */
const REFILL_SHARE = 0.25;

/** Bytes a key costs; see ENTRY_COST_BYTES in block-table.ts. */
const KEY_COST_BYTES = 22;
const GPU_BITS = 0x0aaa_aaaa;
const BELOW_BITS = 0x0555_5555;
const TOLD_SHIFT = 28;
const TOLD_BITS = 3 << TOLD_SHIFT;
const QUEUED = 1 << 30;

/** How a section of a stream stands in it. */
export interface SectionFlags {
  readonly begins: boolean;
  readonly completes: boolean;
}

/** How each rank holds the block of a key; see `adopt`. */
type VisitKey = (low: number, high: number, ranks: number) => void;

export class EndpointMirror {
  readonly #keysMax: number;
  readonly #table: BlockTable;
  readonly #key = new Uint32Array(2);
  #idsEnd = 0;
  #leftOut = 0;
  #lacksKeys = false;
  #lacksRanks = false;
  /** Whether anybody is told. */
  #isSent = false;
  #isBegun = false;
  #isCompleted = false;
  /** Ids of entries with the QUEUED bit, from #queueHead on. */
  #queue: number[] = [];
  #queueHead = 0;
  /** Entries from here on are still to be looked at. */
  #walkAt = Infinity;

  constructor(keysMax: number = MIRROR_LIMITS.keysMax) {
    this.#keysMax = keysMax;
    this.#table = new BlockTable(keysMax * KEY_COST_BYTES);
  }

  get byteLength(): number {
    return this.#table.byteLength;
  }

  /** Keys that the endpoint holds, or that the object still has to be told are gone. */
  get keyCount(): number {
    return this.#table.size;
  }

  /** Past the last entry that `visit` has something of. */
  get entriesEnd(): number {
    return this.#idsEnd;
  }

  /** Keys not taken up since the beginning, because of a bound. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Whether it may be without keys that the endpoint holds. So it is until it is filled again. */
  get lacksKeys(): boolean {
    return this.#lacksKeys || this.#lacksRanks;
  }

  /** Whether there is room again for keys that it lacks. Those of ranks past the bound stay away. */
  get canRefill(): boolean {
    return this.#lacksKeys && this.#table.size <= this.#keysMax * (1 - REFILL_SHARE);
  }

  /** Whoever calls it tells of every key that the endpoint holds. */
  refill(): void {
    this.#lacksKeys = false;
  }

  /** Whether there is something to say, and at most how many keys. */
  get dueCount(): number {
    if (!this.#isSent) return 0;
    const walked = this.#idsEnd - Math.min(this.#walkAt, this.#idsEnd);
    return this.#queue.length - this.#queueHead + walked + (this.#isCompleted ? 0 : 1);
  }

  /** A rank holds a block so from now on. */
  // Hot path: kv-stream in bench/.
  held(rank: number, low: number, high: number, holding: Holding): void {
    if (rank >= MIRROR_LIMITS.ranksMax) {
      this.#leftOut++;
      this.#lacksRanks = true;
      return;
    }
    let id = this.#table.find(low, high);
    if (id === NONE) {
      if (holding === NOT_HELD) return;
      id = this.#add(low, high);
      if (id === NONE) return;
    }
    const shift = rank * 2;
    const ranks = this.#table.payload(id) & (GPU_BITS | BELOW_BITS);
    this.#setRanks(id, (ranks & ~(3 << shift)) | (holding << shift));
  }

  /** The same of a block that it is not to know of, unless it does. */
  // Hot path: kv-stream in bench/.
  heldStill(rank: number, low: number, high: number, holding: Holding): void {
    if (this.#table.find(low, high) !== NONE) this.held(rank, low, high, holding);
  }

  /**
   * Shows the keys that the endpoint holds, of so many entries from one on, and how each rank does. Begin at 0
   * and go on with what is returned, until that is undefined. `visit` may drop what it is shown. Every key that
   * is there from the first call to the last is shown; one that is added in between perhaps not.
   */
  visit(from: number, count: number, visit: VisitKey): number | undefined {
    const end = Math.min(this.#idsEnd, from + count);
    for (let id = from; id < end; id++) {
      const ranks = this.#table.payload(id) & (GPU_BITS | BELOW_BITS);
      if (ranks === 0) continue;
      this.#table.readKey(id, this.#key, 0);
      visit(this.#key[0]!, this.#key[1]!, ranks);
    }
    return end < this.#idsEnd ? end : undefined;
  }

  /**
   * The endpoint's ranks hold a block as they were said to by `visit`, of another mirror of it. What either
   * knows of ranks is right: both are told when one lets go of it.
   */
  adopt(low: number, high: number, ranks: number): void {
    let id = this.#table.find(low, high);
    if (id === NONE) id = this.#add(low, high);
    if (id === NONE) return;
    this.#setRanks(id, (this.#table.payload(id) & (GPU_BITS | BELOW_BITS)) | ranks);
  }

  /** Whoever is told need not know of the block any more. */
  drop(low: number, high: number): void {
    const id = this.#table.find(low, high);
    if (id !== NONE) this.#setRanks(id, 0);
  }

  /** Everything is said from now on, from the beginning. */
  begin(): void {
    this.#reset();
    this.#isSent = true;
    this.#isBegun = false;
    this.#isCompleted = false;
    this.#walkAt = 0;
  }

  /** Nobody is told any more. */
  stop(): void {
    this.#isSent = false;
    this.#reset();
  }

  /** Puts what is to be said next into `out`, as far as it has room. Undefined where there is nothing. */
  take(out: SectionBuffer): SectionFlags | undefined {
    if (this.dueCount === 0) return undefined;
    while (this.#queueHead < this.#queue.length && out.hasRoom) {
      this.#say(this.#queue[this.#queueHead++]!, out);
    }
    if (this.#queueHead === this.#queue.length) {
      this.#queue = [];
      this.#queueHead = 0;
    }
    for (; this.#walkAt < this.#idsEnd && out.hasRoom; this.#walkAt++) this.#say(this.#walkAt, out);
    const isWalked = this.#walkAt >= this.#idsEnd;
    if (isWalked) this.#walkAt = Infinity;
    const flags = { begins: !this.#isBegun, completes: isWalked && !this.#isCompleted };
    this.#isBegun = true;
    this.#isCompleted ||= isWalked;
    return flags;
  }

  #setRanks(id: number, ranks: number): void {
    const before = this.#table.payload(id);
    const after = (before & ~(GPU_BITS | BELOW_BITS)) | ranks;
    if (this.#isSent && holdingOf(before) !== holdingOf(after)) this.#changed(id, after);
    else this.#keep(id, after);
  }

  #add(low: number, high: number): number {
    const isFull = this.#table.size >= this.#keysMax;
    const id = isFull ? NONE : this.#table.add(low, high);
    if (id === NONE) {
      this.#leftOut++;
      this.#lacksKeys = true;
    } else if (id >= this.#idsEnd) this.#idsEnd = id + 1;
    return id;
  }

  /** The endpoint holds it otherwise than a moment ago. */
  #changed(id: number, payload: number): void {
    const isFound = (payload & QUEUED) !== 0 || id >= this.#walkAt;
    if (isFound) {
      this.#keep(id, payload);
    } else if (this.#queue.length - this.#queueHead < MIRROR_LIMITS.queueMax) {
      this.#queue.push(id);
      this.#table.setPayload(id, payload | QUEUED);
    } else {
      this.#queue = [];
      this.#queueHead = 0;
      this.#walkAt = 0;
      this.#keep(id, payload);
    }
  }

  #say(id: number, out: SectionBuffer): void {
    const payload = this.#table.payload(id);
    if (payload === 0) return;
    const holding = holdingOf(payload);
    if (holding !== (payload & TOLD_BITS) >>> TOLD_SHIFT) {
      this.#table.readKey(id, this.#key, 0);
      out.add(this.#key[0]!, this.#key[1]!, holding);
    }
    this.#keep(id, (payload & (GPU_BITS | BELOW_BITS)) | (holding << TOLD_SHIFT));
  }

  /** What the object was told counts for nothing, and nothing is to be said. */
  #reset(): void {
    for (let id = 0; id < this.#idsEnd; id++) {
      const payload = this.#table.payload(id);
      if (payload !== 0) this.#keep(id, payload & (GPU_BITS | BELOW_BITS));
    }
    this.#queue = [];
    this.#queueHead = 0;
    this.#walkAt = Infinity;
  }

  #keep(id: number, payload: number): void {
    if (payload !== 0) {
      this.#table.setPayload(id, payload);
      return;
    }
    this.#table.remove(id);
  }
}

function holdingOf(payload: number): Holding {
  if ((payload & GPU_BITS) !== 0) return HELD_ON_GPU;
  return (payload & BELOW_BITS) !== 0 ? HELD_BELOW : NOT_HELD;
}
