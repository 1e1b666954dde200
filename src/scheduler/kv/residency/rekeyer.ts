// One source's cache, from the engine's hashes to our keys.
//
//   engine hash ──► entry ┬ state of the chain at the block's end: gives its key, and its children's: block-walk.ts
//                         ├ count of announcements, by tier and group: announcements.ts
//                         ├ where in its tokens' row of KEY_TOKENS the block ends
//                         └ adapter
//
//   held: a count above 0 ── all 0 ──► kept, the longest unheld first to go ── room needed ──► forgotten
//                 └──────── stored again ◄──┘
//
// Hybrid models have several groups of caches, which hold the same blocks and let go of them one by one. A block
// is held where all groups hold it whose blocks a prefix needs all of; the first of these to be seen leads, with
// counts by tier, and the others have a count each, on the GPU. Groups of other kinds, windows and states, let go
// of blocks while the prefix can still be had: they decide where a hit can end, see hit-ends.ts. Where nobody wants
// to know that, what they say changes nothing.
//
// Blocks are announced more than once (overlapping offload chunks, two copies of a block) and removed as
// often, so announcements are counted. Blocks that nothing holds are kept while there is room: children and
// lower tiers name them after their removal, and after a gap what is announced next has them as parents.
// What cannot be followed is not claimed, and counted: a block taken for absent costs a hit, one taken
// for present costs the choice.

import { NONE } from "../block-table.ts";
import { AdapterIndexes } from "./adapter-indexes.ts";
import { ANNOUNCEMENT_LIMITS, TIER_SHIFTS } from "./announcements.ts";
import { BlockWalk } from "./block-walk.ts";
import {
  blocksNeeded,
  HIT_END_COST_BYTES,
  HitEnds,
  PROMPT_START,
  STATES_KIND,
} from "./hit-ends.ts";
import { type EndingSink, type Holding, type HoldingSink, NOT_HELD } from "./holding.ts";
import {
  type KvBlocksRemoved,
  type KvBlocksStored,
  type KvCacheGroup,
  type KvExtraKey,
  WHOLE_PREFIX_KINDS,
} from "./kv-event.ts";
import type { KeyChains } from "./key-chains.ts";
import { noCounts, type RekeyerCounts } from "./rekeyer-counts.ts";
import { entriesOf, RekeyerEntries } from "./rekeyer-entries.ts";

export const REKEYER_LIMITS = {
  /** Of one source: 800,000 blocks, or 350,000 of a hybrid model. Memory is taken as blocks come. */
  bytesMax: 32 * 1024 * 1024,
} as const;

/** Places of groups that need a part of a prefix begin here. */
const PARTIAL = 32;

export interface RekeyerOptions {
  readonly bytesMax?: number;
  /** The sink is told only of blocks that end where requests have keys of tokens. Otherwise of every block. */
  readonly isSparse?: boolean;
  /** Is told which block is behind which, in tokens. */
  readonly chains?: KeyChains;
  /** Is told where hits can end, if not with every block. Absent: nobody wants to know. */
  readonly endings?: EndingSink;
}

export class Rekeyer {
  readonly counts: RekeyerCounts = noCounts();
  readonly #slot: number;
  readonly #sink: HoldingSink;
  readonly #isSparse: boolean;
  readonly #bytesMax: number;
  #entriesMax: number;
  #entries: RekeyerEntries;
  readonly #walk: BlockWalk;
  readonly #adapters = new AdapterIndexes();
  /** Indexes of the groups that a prefix needs all blocks of; the first leads. */
  #groups: number[] = [];
  /** Of blocks of the group that leads. */
  #blockSize = 0;
  #heldCount = 0;
  #lacksBlocks = false;
  readonly #endings: EndingSink | undefined;
  /** Undefined until there is a group that needs a part of a prefix. */
  #ends: HitEnds | undefined;

  /** `slot` is what the sink is told. */
  constructor(slot: number, sink: HoldingSink, options: RekeyerOptions = {}) {
    const { bytesMax = REKEYER_LIMITS.bytesMax, isSparse = false } = options;
    this.#slot = slot;
    this.#sink = sink;
    this.#isSparse = isSparse;
    this.#walk = new BlockWalk(options.chains);
    this.#endings = options.endings;
    this.#bytesMax = bytesMax;
    this.#entriesMax = entriesOf(bytesMax);
    this.#entries = new RekeyerEntries(this.#entriesMax);
  }

  /** Bytes of all arrays. */
  get byteLength(): number {
    return this.#entries.byteLength + (this.#ends?.byteLength ?? 0);
  }

  /** Blocks the source holds on any tier. */
  get heldBlocks(): number {
    return this.#heldCount;
  }

  /** Whether the source may hold blocks that there was no room for. */
  get lacksBlocks(): boolean {
    return this.#lacksBlocks;
  }

  /** Blocks known, held or not. */
  get knownBlocks(): number {
    return this.#entries.table.size;
  }

  // Hot path: residency in bench/.
  stored(event: KvBlocksStored): void {
    const blocks = event.hashes.length >>> 1;
    const shift = TIER_SHIFTS[event.tier];
    if (shift === undefined) {
      this.counts.otherTier += blocks;
      return;
    }
    const place = this.#placeOf(event);
    if (place < 0 || (place > 0 && shift > 0)) {
      this.counts.otherGroup += blocks;
      return;
    }
    if (event.tokens.length === 0) {
      for (let i = 0; i < blocks; i++) {
        const id = this.#find(event.hashes, i);
        if (id === NONE) this.counts.unknown++;
        else this.#announce(id, shift, place);
      }
      return;
    }
    if (event.blockSize === 0 || event.tokens.length !== blocks * event.blockSize) {
      this.counts.uneven += blocks;
      return;
    }
    this.#storeChain(event, blocks, shift, place);
  }

  removed(event: KvBlocksRemoved): void {
    const { hashes, groupIndex } = event;
    const blocks = hashes.length >>> 1;
    const shift = TIER_SHIFTS[event.tier];
    if (shift === undefined) {
      this.counts.otherTier += blocks;
      return;
    }
    const place = groupIndex === null ? 0 : this.#knownPlace(groupIndex);
    if (place < 0 || (place > 0 && shift > 0)) {
      this.counts.otherGroup += blocks;
      return;
    }
    for (let i = 0; i < blocks; i++) {
      const id = this.#find(hashes, i);
      if (id === NONE || !this.#takeBack(id, shift, place)) this.counts.unknown++;
    }
  }

  /**
   * Nothing is held any more, or nothing that was is certain. Which tokens hashes stand for and what its
   * cache groups are stays true, and is kept: engines need not say it again.
   */
  cleared(): void {
    for (let id = 0; id < this.#entries.rows.idsEnd; id++) {
      const was = this.#entries.announcements.holding(id, this.#groups.length);
      // Where there are several groups, some may have what is not held.
      if (was === NOT_HELD && this.#groups.length < 2) continue;
      this.#entries.announcements.clear(id);
      this.#changed(id, was);
    }
    this.#lacksBlocks = false;
    this.#ends?.clear();
  }

  /** The source is not followed any more: nothing that it holds is told from now on. */
  gone(): void {
    this.cleared();
    this.#dropEnds();
  }

  /** The source is a new process: nothing that the one before said means anything. */
  begunAnew(): void {
    this.gone();
    this.#entries = new RekeyerEntries(this.#entriesMax);
    this.#adapters.clear();
    this.#groups = [];
    this.#blockSize = 0;
  }

  /** Tells the sink of every block that is held, as if it was stored just now. */
  tellAgain(): void {
    for (let id = 0; id < this.#entries.rows.idsEnd; id++) {
      const holding = this.#entries.announcements.holding(id, this.#groups.length);
      if (holding !== NOT_HELD) this.#tell(id, holding);
    }
    if (this.#ends === undefined) return;
    this.#endings!.endsMarked(this.#slot, true);
    for (let id = 0; id < this.#ends.idsEnd; id++)
      if (this.#ends.isTold(id)) this.#tellEnd(id, true);
  }

  #find(hashes: Uint32Array, at: number): number {
    return this.#entries.find(hashes[at * 2]!, hashes[at * 2 + 1]!);
  }

  /** -1 for a group that is not looked at, or not yet. */
  #knownPlace(index: number): number {
    const place = this.#groups.indexOf(index);
    if (place >= 0 || this.#ends === undefined) return place;
    const partial = this.#ends.placeOf(index);
    return partial < 0 ? -1 : PARTIAL + partial;
  }

  /** 0 for the group that leads and where there are none; -1 for a group that is not looked at. */
  #placeOf(event: KvBlocksStored): number {
    const { group, tier, tokens, blockSize } = event;
    if (group === null) return 0;
    const { index, kind } = group;
    const place = this.#knownPlace(index);
    const isWhole = kind !== null && WHOLE_PREFIX_KINDS.has(kind);
    // A new process that could not be told from the one before.
    if (place >= 0 && kind !== null && isWhole !== place < PARTIAL) this.begunAnew();
    else if (place >= 0) return place;
    if (kind === null || tier !== "gpu") return -1;
    if (!isWhole) return this.#addPartial(event, group);
    if (this.#groups.length === 0) this.#blockSize = blockSize;
    else if (tokens.length === 0 || blockSize !== this.#blockSize) return -1;
    if (this.#groups.length > ANNOUNCEMENT_LIMITS.otherGroupsMax) return -1;
    const before = this.#groups.length;
    this.#groups.push(index);
    if (before > 0) this.#regroup(before);
    if (this.#ends !== undefined && this.#ends.blockSize !== blockSize) this.#dropEnds();
    return before;
  }

  /** A group more that needs a part of a prefix. -1 where it is not known which, or nobody wants to know. */
  #addPartial({ tokens, blockSize }: KvBlocksStored, group: KvCacheGroup): number {
    const needed = blocksNeeded(group, blockSize);
    const isOfSize = this.#blockSize === 0 || blockSize === this.#blockSize;
    if (this.#endings === undefined || needed === undefined || tokens.length === 0 || !isOfSize)
      return -1;
    if (this.#ends === undefined) {
      if (!this.#makeRoomForEnds()) {
        this.#lacksBlocks = true;
        return -1;
      }
      this.#ends = new HitEnds({
        blockSize,
        holding: (id) => this.#entries.announcements.holding(id, this.#groups.length),
        tell: (id, isEnd) => this.#tellEnd(id, isEnd),
      });
      this.#endings.endsMarked(this.#slot, true);
    }
    if (this.#ends.blockSize !== blockSize) return -1;
    const { index, kind } = group;
    const place = this.#ends.addGroup({ index, needed, isOfStates: kind === STATES_KIND });
    return place < 0 ? -1 : PARTIAL + place;
  }

  /** Entries are to cost more: fewer may be known. False where more are held. */
  #makeRoomForEnds(): boolean {
    const entriesMax = entriesOf(this.#bytesMax, HIT_END_COST_BYTES);
    if (this.#heldCount > entriesMax) return false;
    while (this.#entries.table.size > entriesMax) this.#forgetOldest();
    if (this.#entries.table.idsEnd > entriesMax) {
      const entries = this.#entries.compacted(this.#groups.length);
      if (entries === undefined) return false;
      this.#entries = entries;
    }
    this.#entriesMax = entriesMax;
    return true;
  }

  /** Hits end with any block again. */
  #dropEnds(): void {
    const ends = this.#ends;
    if (ends === undefined) return;
    this.#ends = undefined;
    this.#entriesMax = entriesOf(this.#bytesMax);
    for (let id = 0; id < ends.idsEnd; id++) if (ends.isTold(id)) this.#tellEnd(id, false);
    this.#endings!.endsMarked(this.#slot, false);
  }

  /** One group more is known: what it did not announce is not held. */
  #regroup(before: number): void {
    for (let id = 0; id < this.#entries.rows.idsEnd; id++) {
      const was = this.#entries.announcements.holding(id, before);
      if (was !== NOT_HELD) this.#changed(id, was);
    }
  }

  /** Blocks with their tokens, each behind the one before. */
  #storeChain(event: KvBlocksStored, blocks: number, shift: number, place: number): void {
    const { hashes, tokens, blockSize, extraKeys } = event;
    const adapter = this.#adapterIndex(event.loraName);
    if (adapter < 0) {
      this.#leaveOut(blocks);
      return;
    }
    if (!this.#beginAt(event, adapter)) {
      this.counts.orphaned += blocks;
      return;
    }
    let before = this.#ends === undefined ? NONE : this.#before(event.parent);
    for (let i = 0; i < blocks; i++) {
      const extras = extraKeys?.[i];
      if (extras !== undefined && hasUnplaced(extras, i > 0 || event.parent !== null)) {
        this.counts.unplaced++;
      }
      this.#walk.addBlock(tokens, i * blockSize, (i + 1) * blockSize, extras);
      let id = this.#find(hashes, i);
      if (id === NONE) {
        // It may have to make room.
        if (before === this.#entries.unheld.oldest && this.#isFull) before = NONE;
        id = this.#addEntry(hashes, i, adapter);
      } else if (!this.#entries.isAt(id, adapter, this.#walk) && !this.#rewrite(id, adapter)) {
        this.counts.conflicting++;
        before = NONE;
        continue;
      }
      if (id === NONE) {
        this.#leaveOut(blocks - i);
        return;
      }
      this.#ends?.link(id, before);
      before = id;
      this.#announce(id, shift, place);
    }
  }

  #before(parent: Uint32Array | null): number {
    return parent === null ? PROMPT_START : this.#find(parent, 0);
  }

  get #isFull(): boolean {
    return this.#entries.table.size >= this.#entriesMax;
  }

  #leaveOut(blocks: number): void {
    this.counts.leftOut += blocks;
    this.#lacksBlocks = true;
  }

  /** Puts the walk where the event's first block begins. False if that is not known. */
  #beginAt(event: KvBlocksStored, adapter: number): boolean {
    const { parent } = event;
    if (parent === null) {
      this.#walk.begin(event.loraName);
      return true;
    }
    const id = this.#find(parent, 0);
    if (id === NONE || this.#entries.adapter(id) !== adapter) return false;
    this.#entries.resume(id, this.#walk);
    return true;
  }

  /** An unheld entry at the walk's place, or NONE where there is no room. */
  #addEntry(hashes: Uint32Array, at: number, adapter: number): number {
    if (this.#isFull && !this.#forgetOldest()) return NONE;
    const id = this.#entries.add(hashes[at * 2]!, hashes[at * 2 + 1]!);
    if (id !== NONE) this.#place(id, adapter);
    return id;
  }

  /** A hash that nothing holds may come to stand for other tokens: then what it stood for is void. */
  #rewrite(id: number, adapter: number): boolean {
    if (this.#entries.announcements.holding(id, this.#groups.length) !== NOT_HELD) return false;
    this.#entries.unheld.remove(id);
    this.#place(id, adapter);
    return true;
  }

  /** An entry that nobody holds is of the block at whose end the walk stands. */
  #place(id: number, adapter: number): void {
    this.#ends?.forget(id);
    this.#entries.place(id, adapter, this.#walk);
  }

  #announce(id: number, shift: number, place: number): void {
    if (place >= PARTIAL) {
      if (!this.#ends!.count(id, place - PARTIAL, 1)) this.counts.leftOut++;
    } else if (this.#entries.announcements.isFull(id, shift, place)) this.counts.leftOut++;
    else this.#count(id, shift, place, 1);
  }

  /** False where it was not announced. */
  #takeBack(id: number, shift: number, place: number): boolean {
    if (place >= PARTIAL) return this.#ends!.count(id, place - PARTIAL, -1);
    if (this.#entries.announcements.count(id, shift, place) === 0) return false;
    this.#count(id, shift, place, -1);
    return true;
  }

  /** Counts an announcement, or takes one back. */
  #count(id: number, shift: number, place: number, by: 1 | -1): void {
    const was = this.#entries.announcements.holding(id, this.#groups.length);
    this.#entries.announcements.add(id, shift, place, by);
    this.#changed(id, was);
  }

  /** Tells what an entry's other counts mean. */
  #changed(id: number, was: Holding): void {
    const is = this.#entries.announcements.holding(id, this.#groups.length);
    if (was === is) return;
    if (was === NOT_HELD) {
      this.#entries.unheld.remove(id);
      this.#heldCount++;
      this.#adapters.heldChanged(this.#entries.adapter(id), 1);
    } else if (is === NOT_HELD) {
      this.#entries.unheld.push(id);
      this.#heldCount--;
      this.#adapters.heldChanged(this.#entries.adapter(id), -1);
    }
    this.#tell(id, is);
    this.#ends?.heldChanged(id);
  }

  #tellEnd(id: number, isEnd: boolean): void {
    if (this.#isSparse && this.#entries.offset(id) !== 0) return;
    const { low, high } = this.#entries.tokenKey(id);
    this.#endings!.endsHit(this.#slot, low, high, isEnd);
  }

  #tell(id: number, holding: Holding): void {
    if (this.#isSparse && this.#entries.offset(id) !== 0) return;
    const { low, high } = this.#entries.tokenKey(id);
    this.#sink.held(this.#slot, low, high, holding);
  }

  /** -1 where all are taken. */
  #adapterIndex(name: string | null): number {
    const index = this.#adapters.find(name) ?? this.#adapters.add(name);
    if (index !== undefined) return index;
    const isFree = this.#adapters.freeUnheld();
    if (!isFree.includes(1)) return -1;
    for (let id = this.#entries.unheld.oldest; id !== NONE;) {
      const newer = this.#entries.unheld.newer(id);
      if (isFree[this.#entries.adapter(id)] === 1) this.#forget(id);
      id = newer;
    }
    return this.#adapters.add(name)!;
  }

  #forgetOldest(): boolean {
    const { oldest } = this.#entries.unheld;
    if (oldest !== NONE) this.#forget(oldest);
    return oldest !== NONE;
  }

  /** Nothing holds it. */
  #forget(id: number): void {
    this.#ends?.forget(id);
    this.#entries.unheld.remove(id);
    this.#entries.table.remove(id);
  }
}

/** Media without a place: salts are told as they are, but stand in the first block of a prompt only. */
function hasUnplaced(extras: readonly KvExtraKey[], isBehindFirst: boolean): boolean {
  return isBehindFirst && extras.some(({ kind }) => kind === "text");
}
