// Which endpoint holds which block, as the engines say: block by block, and on which tier.
//
//   BlockTable   key ──► entry ──► holder set     place 2 × lane: on GPUs, 2 × lane + 1: below
//
// An endpoint's knowledge is a lane: see resident-lanes.ts. A new account of the same endpoint is built in another
// lane while the old one goes on answering; then they change places, so that nothing is half known at any moment.
// A lane that is closed answers no more; its holders are taken out of the sets bit by bit (`sweep`).
//
// Here keys are recorded and let go of. What is read of them for a decision is lane-match.ts and hit-end-cut.ts.
//
// Nothing is evicted but for the bytes: then the entry goes that no look-up has met for longest (CLOCK),
// and every lane that held it is known to lack something. What a PrefixTree does besides, capacity and
// recency by endpoint, is the engine's own business here.
//
// Of each block it can be told where content up to and with it ends in tokens with `hold`, so that a match
// counts in tokens, too.
//
// Memory of a block with two holders: 12 bytes the entry, 2 its end, 5 to 10 its place in the table. Blocks with
// more share the bytes with these, first come, first served, between two bounds. kv-stream in bench/ measures it.

import { BlockEnds, END_OF_HIT, END_UNKNOWN, ENDS_CHUNK_BYTES } from "./block-ends.ts";
import { BlockTable, ENTRY_COST_BYTES, FIND_ALL_MAX, type KeyTable, NONE } from "./block-table.ts";
import { HitEndCut } from "./hit-end-cut.ts";
import { ENDS_MARKED } from "./hit-end-keys.ts";
import { HolderSets } from "./holder-sets.ts";
import { LaneMatch } from "./lane-match.ts";
import { PairTable } from "./pair-table.ts";
import {
  type HeldBlocks,
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "./residency/holding.ts";
import { RecentEntries } from "./recent-entries.ts";
import { NO_LANE, ResidentLanes } from "./resident-lanes.ts";

export const RESIDENT_INDEX_LIMITS = {
  /** 1,024 endpoints, and lanes that are built or swept meanwhile. */
  lanesMax: 1024 + 256,
  /** All arrays: two million blocks, and at least 4.7 MiB for those that more than two endpoints hold. */
  bytesMax: 52 * 1024 * 1024,
} as const;

/**
 * What sets of more than two holders may have of the bytes: so much in any case, and the larger share where
 * entries have not taken it. Entries are bounded by shedding, sets by leaving a holder out.
 */
const SETS_SHARE_LEAST = 0.09;
const SETS_SHARE_MOST = 0.5;
/** Of an entry: in the table, its end, and its bit of RecentEntries. */
const COST_BYTES = ENTRY_COST_BYTES + 2 + 1 / 8;

/** (block, endpoint) pairs, since the beginning. */
export interface ResidentCounts {
  /** Shed for the bytes. */
  shed: number;
  /** Not recorded, because the sets' share of the bytes was used up. */
  leftOut: number;
}

export interface ResidentIndexOptions {
  readonly lanesMax?: number;
  readonly bytesMax?: number;
}

/** One per pool. */
export class ResidentIndex {
  readonly counts: ResidentCounts = { shed: 0, leftOut: 0 };
  readonly #bytesMax: number;
  readonly #table: BlockTable;
  readonly #sets: HolderSets;
  readonly #pairs: PairTable;
  readonly #lanes: ResidentLanes;
  readonly #match: LaneMatch;
  readonly #hitEndCut: HitEndCut;
  /** By lane: keys, and those of them that say where hits end. */
  readonly #held: Int32Array;
  readonly #hitEnds: Int32Array;
  /** Some key has said where hits end. */
  #hasHitEnds = false;
  /** By lane. */
  readonly #lacks: Uint8Array;
  readonly #recent: RecentEntries;
  readonly #found = new Int32Array(FIND_ALL_MAX);
  readonly #ends = new BlockEnds();
  /** Undefined while nothing is swept. */
  #sweepHand: number | undefined;
  readonly #plane: Uint32Array;

  constructor(options: ResidentIndexOptions = {}) {
    const { lanesMax = RESIDENT_INDEX_LIMITS.lanesMax, bytesMax = RESIDENT_INDEX_LIMITS.bytesMax } =
      options;
    this.#bytesMax = bytesMax;
    const entriesMax = Math.floor((bytesMax * (1 - SETS_SHARE_LEAST)) / COST_BYTES);
    this.#table = new BlockTable(
      entriesMax * ENTRY_COST_BYTES,
      (bytes) => this.byteLength + bytes <= bytesMax,
    );
    this.#sets = new HolderSets(lanesMax * 2, bytesMax * SETS_SHARE_MOST, (bytes) => {
      // Entries once taken keep their bytes, and their segments split later.
      const taken = Math.max(this.#entryBytes, this.#table.idsEnd * COST_BYTES);
      return taken + this.#sets.byteLength + bytes <= bytesMax;
    });
    this.#lanes = new ResidentLanes(lanesMax, this.#sets.planeWords);
    this.#pairs = new PairTable({
      table: this.#table,
      sets: this.#sets,
      words: () => this.#lanes.words,
      slotOf: (place) => this.#lanes.pairSlotOf(place),
    });
    this.#held = new Int32Array(lanesMax);
    this.#hitEnds = new Int32Array(lanesMax);
    this.#lacks = new Uint8Array(lanesMax);
    this.#plane = new Uint32Array(this.#sets.planeWords);
    this.#recent = new RecentEntries(this.#table);
    const read = {
      table: this.#table,
      sets: this.#sets,
      lanes: this.#lanes,
      recent: this.#recent,
    };
    this.#match = new LaneMatch({ ...read, ends: this.#ends });
    this.#hitEndCut = new HitEndCut(read);
  }

  /** Distinct keys, those that only dead lanes hold included. */
  get blockCount(): number {
    return this.#table.size;
  }

  /** Of blocks that somebody holds, those that only dead lanes hold included. */
  get keys(): KeyTable {
    return this.#table;
  }

  /** (key, endpoint) pairs, of dead lanes too. */
  get pairCount(): number {
    return this.#pairs.size;
  }

  get pairs(): KeyTable {
    return this.#pairs;
  }

  /** Bytes of all arrays that grow. */
  get byteLength(): number {
    return this.#entryBytes + this.#sets.byteLength;
  }

  /** Without the sets. */
  get #entryBytes(): number {
    return this.#table.byteLength + this.#recent.byteLength + this.#ends.byteLength;
  }

  /** Blocks of a lane; what says where hits end is none. */
  heldBlocks(lane: number): number {
    return this.#held[lane]! - this.#hitEnds[lane]!;
  }

  /** Whether something the lane was told is not in it, because of the bytes. */
  lacksBlocks(lane: number): boolean {
    return this.#lacks[lane] === 1;
  }

  /** An empty lane for `slot`. NO_LANE if all are taken, perhaps by dead ones that are not swept yet. */
  openLane(slot: number): number {
    const lane = this.#lanes.open(slot);
    if (lane !== NO_LANE) this.#lacks[lane] = 0;
    return lane;
  }

  /** The lane answers for its endpoint from now on. No other may: the caller closes it before. */
  answer(lane: number): void {
    this.#lanes.answer(lane);
  }

  /** The lane answers no more. `sweep` takes its blocks out. */
  closeLane(lane: number): void {
    this.#lanes.close(lane, this.#held[lane] === 0);
    this.#hitEndCut.mark(lane, false);
  }

  /** Whether an account as large as a lane's would shed nothing. */
  hasRoomForAnother(lane: number): boolean {
    return this.#table.size + this.#held[lane]! < this.#entriesMax;
  }

  /** As many as the sets leave bytes for. */
  get #entriesMax(): number {
    const left = Math.floor((this.#bytesMax - this.#sets.byteLength) / COST_BYTES);
    return Math.max(1, Math.min(this.#table.entriesMax, left));
  }

  get #isFull(): boolean {
    const { size, chunkBytesDue } = this.#table;
    if (size >= this.#entriesMax) return true;
    if (chunkBytesDue === 0 || size === 0) return false;
    return this.byteLength + chunkBytesDue + ENDS_CHUNK_BYTES > this.#bytesMax;
  }

  /** A lane holds these blocks so from now on, whatever it was before. ENDS_MARKED is none of them: it is never shed. */
  // Hot path: kv-stream in bench/.
  hold(lane: number, blocks: HeldBlocks): void {
    const { keys } = blocks;
    for (let from = 0; from < keys.length; from += FIND_ALL_MAX * 2) {
      this.#table.findAll(keys, from, this.#found);
      this.#holdFound(lane, blocks, from);
    }
  }

  /** `hold` of those from word `from` on that have just been looked up. */
  #holdFound(lane: number, blocks: HeldBlocks, from: number): void {
    const { keys, onGpuCount, belowCount, ends } = blocks;
    const onGpuEnd = onGpuCount * 2;
    const belowEnd = onGpuEnd + belowCount * 2;
    const to = Math.min(keys.length, from + FIND_ALL_MAX * 2);
    for (let i = from; i < to; i += 2) {
      const holding = i < onGpuEnd ? HELD_ON_GPU : i < belowEnd ? HELD_BELOW : NOT_HELD;
      const low = keys[i]!;
      const high = keys[i + 1]!;
      let id = this.#found[(i - from) >>> 1]!;
      // What stands before it may have added it, or shed it for the bytes.
      if (id === NONE || !this.#table.isOf(id, low, high)) id = this.#table.find(low, high);
      if (id === NONE && low === ENDS_MARKED.low && high === ENDS_MARKED.high) {
        this.#hitEndCut.mark(lane, holding !== NOT_HELD);
        continue;
      }
      if (id === NONE && holding !== NOT_HELD) id = this.#add(lane, low, high);
      if (id === NONE) continue;
      if (ends !== undefined && i < belowEnd) this.#setEnd(id, ends[i >>> 1]!);
      this.#holdEntry(lane, id, holding);
    }
  }

  /** Who holds the entry holds a block less, or one more, where it is told only now that it is one or is none. */
  #setEnd(id: number, end: number): void {
    const by = Number(end === END_OF_HIT) - Number(this.#isHitEnd(id));
    this.#ends.set(id, end);
    if (by === 0) return;
    this.#hasHitEnds = true;
    const set = this.#table.payload(id);
    if (set === 0) return;
    const { words } = this.#lanes;
    this.#sets.toPlane(set, this.#plane, words);
    for (let word = 0; word < words; word++) {
      for (let bits = this.#plane[word]!; bits !== 0; bits &= bits - 1) {
        this.#hitEnds[(word * 32 + 31 - Math.clz32(bits & -bits)) >>> 1]! += by;
      }
    }
  }

  #isHitEnd(id: number): boolean {
    return this.#hasHitEnds && this.#ends.at(id) === END_OF_HIT;
  }

  #countHeld(lane: number, id: number, by: 1 | -1): void {
    this.#held[lane]! += by;
    if (this.#isHitEnd(id)) this.#hitEnds[lane]! += by;
  }

  #holdEntry(lane: number, id: number, holding: Holding): void {
    let set = this.#table.payload(id);
    const place = lane * 2;
    const isOnGpu = this.#sets.has(set, place);
    const was = isOnGpu ? HELD_ON_GPU : this.#sets.has(set, place + 1) ? HELD_BELOW : NOT_HELD;
    if (was === holding) return;
    if (was !== NOT_HELD) {
      set = this.#sets.remove(set, isOnGpu ? place : place + 1);
      this.#countHeld(lane, id, -1);
      this.#pairs.removed();
    }
    if (holding !== NOT_HELD) {
      if (this.#sets.canAdd(set)) {
        set = this.#sets.add(set, holding === HELD_ON_GPU ? place : place + 1);
        this.#countHeld(lane, id, 1);
        this.#pairs.added(id, this.#lanes.slots[lane]!);
      } else this.#leftOut(lane);
    }
    this.#keep(id, set);
  }

  /** Whether anybody holds a block: then what it stands for is known. */
  isKnown(low: number, high: number): boolean {
    return this.#table.find(low, high) !== NONE;
  }

  /** Whether a lane holds a block, on any tier. */
  isHeld(lane: number, low: number, high: number): boolean {
    const id = this.#table.find(low, high);
    if (id === NONE) return false;
    const set = this.#table.payload(id);
    return this.#sets.has(set, lane * 2) || this.#sets.has(set, lane * 2 + 1);
  }

  /** What LaneMatch writes: how much of a path each endpoint holds. */
  // Hot path: each pick in a pool whose caches are known exactly.
  match(keys: Uint32Array, matched: Int32Array, onGpu: Int32Array): void {
    this.#match.match(keys, matched, onGpu);
  }

  /** Takes from that what no hit can end with. */
  cutToEnds(keys: Uint32Array, matched: Int32Array, onGpu: Int32Array): void {
    this.#hitEndCut.cut(keys, matched, onGpu);
  }

  /** Where the first `blocks` blocks of the path that was matched last end; END_UNKNOWN if that is not known. */
  endOfMatch(blocks: number): number {
    return this.#match.endOf(blocks);
  }

  /** Where the first `blocks` blocks of a path end, as it is known now. */
  endOf(keys: Uint32Array, blocks: number): number {
    if (blocks === 0) return 0;
    const id = this.#table.find(keys[blocks * 2 - 2]!, keys[blocks * 2 - 1]!);
    return id === NONE ? END_UNKNOWN : this.#ends.at(id);
  }

  /**
   * Takes the blocks of dead lanes out of the next `entries` entries. True while there is more to do: the
   * caller goes on later, and lets others have their turn in between.
   */
  sweep(entries: number): boolean {
    if (this.#sweepHand === undefined && !this.#lanes.beginSweep()) return false;
    const begin = this.#sweepHand ?? 0;
    const end = Math.min(begin + entries, this.#table.idsEnd);
    for (let id = begin; id < end; id++) {
      const set = this.#table.payload(id);
      if (set !== 0) this.#takeOut(id, set, this.#lanes.swept);
    }
    this.#sweepHand = end;
    if (end < this.#table.idsEnd) return true;
    this.#sweepHand = undefined;
    return this.#lanes.endSweep();
  }

  /** Takes the holders of an entry out whose places are in a bit plane; all of them, for the bytes, without one. */
  #takeOut(id: number, set: number, places?: Uint32Array): void {
    const { words } = this.#lanes;
    this.#sets.toPlane(set, this.#plane, words);
    let left = set;
    for (let word = 0; word < words; word++) {
      const taken = this.#plane[word]! & (places === undefined ? -1 : places[word]!);
      for (let bits = taken; bits !== 0; bits &= bits - 1) {
        const place = word * 32 + 31 - Math.clz32(bits & -bits);
        left = this.#sets.remove(left, place);
        const lane = place >>> 1;
        this.#countHeld(lane, id, -1);
        this.#pairs.removed();
        if (places !== undefined) continue;
        this.#lacks[lane] = 1;
        if (this.#lanes.isOpen(lane)) this.counts.shed++;
      }
    }
    if (left !== set) this.#keep(id, left);
  }

  #add(lane: number, low: number, high: number): number {
    if (this.#isFull) {
      const coldest = this.#recent.takeColdest();
      this.#takeOut(coldest, this.#table.payload(coldest));
    }
    const id = this.#table.add(low, high);
    if (id === NONE) this.#leftOut(lane);
    else this.#ends.forget(id);
    return id;
  }

  #leftOut(lane: number): void {
    this.counts.leftOut++;
    this.#lacks[lane] = 1;
  }

  #keep(id: number, set: number): void {
    if (set !== 0) return this.#table.setPayload(id, set);
    this.#recent.forget(id);
    this.#table.remove(id);
  }
}
