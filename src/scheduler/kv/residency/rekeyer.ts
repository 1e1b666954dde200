// One source's cache, from the engine's hashes to our keys.
//
//   engine hash ──► entry ┬ state of the chain at the block's end: gives its key, and its children's
//                         ├ count of announcements, by tier and group: announcements.ts
//                         └ adapter
//
//   held: a count above 0 ── all 0 ──► kept, the longest unheld first to go ── room needed ──► forgotten
//                 └──────── stored again ◄──┘
//
// Hybrid models have several groups of caches, which hold the same blocks and let go of them one by one. A block
// is held where all groups hold it whose blocks a prefix needs all of; the first of these to be seen leads, with
// counts by tier, and the others have a count each, on the GPU. Groups of other kinds, such as windows, let go
// of blocks while the prefix can still be had: what they say changes nothing. A prefix that ends where the
// window's blocks are gone is a shorter hit than it is taken for.
//
// Blocks are announced more than once (overlapping offload chunks, two copies of a block) and removed as
// often, so announcements are counted. Blocks that nothing holds are kept while there is room: children and
// lower tiers name them after their removal, and after a gap what is announced next has them as parents.
// What cannot be followed is not claimed, and counted: a block taken for absent costs a hit, one taken
// for present costs the choice.

import { BlockTable, NONE } from "../block-table.ts";
import { ADAPTER_SHIFT, ANNOUNCEMENT_LIMITS, Announcements, TIER_SHIFTS } from "./announcements.ts";
import { type Holding, type HoldingSink, NOT_HELD } from "./holding.ts";
import type { KvBlocksRemoved, KvBlocksStored, KvExtraKey } from "./kv-event.ts";
import { CHUNK_ROWS, Rows } from "./rows.ts";
import { keyHigh, keyLow, TokenKeyChain } from "./token-keys.ts";

export const REKEYER_LIMITS = {
  /** Of one source: 800,000 blocks. Memory is taken as blocks come. */
  bytesMax: 32 * 1024 * 1024,
  /** Adapters of one source; blocks of further ones are not followed. The base model is one. */
  adaptersMax: 255,
} as const;

/** Bytes an entry costs: 22 in the table, 20 its row. */
const TABLE_COST_BYTES = 22;
const ROW_WORDS = 5;
const ENTRY_COST_BYTES = TABLE_COST_BYTES + ROW_WORDS * 4;

/** Words of a row. The list of unheld entries links ids + 1. */
const STATE_LOW = 0;
const STATE_HIGH = 1;
const OLDER = 2;
const NEWER = 3;
const GROUP_COUNTS = 4;

/** Kinds whose blocks a prefix needs all of. Blocks of others leave the cache while the prefix is whole. */
const WHOLE_PREFIX_KINDS = new Set(["full_attention", "mla_attention", "sink_full_attention"]);

/** Blocks announced or removed that could not be followed, by cause, since the beginning. */
export interface RekeyerCounts {
  /** Stored behind a parent that is not known, or is of another adapter. */
  orphaned: number;
  /** Named without tokens, or removed, and not known or not held. */
  unknown: number;
  /** Of a tier that is not the endpoint's own, or has no name here. */
  otherTier: number;
  /** Of a cache group that is not indexed. */
  otherGroup: number;
  /** Their tokens are not as many as their blocks have. */
  uneven: number;
  /** The same hash stood for other tokens before. */
  conflicting: number;
  /** Not taken up, because the bytes, adapters or announcements were used up. */
  leftOut: number;
  /** With media whose place the engine does not tell: followed, and matched by no prompt. */
  unplaced: number;
}

export class Rekeyer {
  readonly counts: RekeyerCounts = {
    orphaned: 0,
    unknown: 0,
    otherTier: 0,
    otherGroup: 0,
    uneven: 0,
    conflicting: 0,
    leftOut: 0,
    unplaced: 0,
  };
  readonly #slot: number;
  readonly #sink: HoldingSink;
  readonly #table: BlockTable;
  readonly #entriesMax: number;
  readonly #rows = new Rows(ROW_WORDS);
  readonly #announcements: Announcements;
  readonly #chain = new TokenKeyChain();
  readonly #adapters = new Map<string | null, number>();
  /** Indexes of the groups that a prefix needs all blocks of; the first leads. */
  #groups: number[] = [];
  /** Of blocks of the group that leads. */
  #blockSize = 0;
  /** Ids + 1 of the unheld entries that have been so the longest, and the shortest. */
  #oldest = 0;
  #newest = 0;
  #heldCount = 0;

  /** `slot` is what the sink is told. */
  constructor(slot: number, sink: HoldingSink, bytesMax: number = REKEYER_LIMITS.bytesMax) {
    this.#slot = slot;
    this.#sink = sink;
    const entriesMax = Math.max(1, Math.floor(bytesMax / ENTRY_COST_BYTES));
    // A chunk of rows that is not used up costs as much as one that is.
    this.#entriesMax = entriesMax - (entriesMax > CHUNK_ROWS ? entriesMax % CHUNK_ROWS : 0);
    this.#table = new BlockTable(this.#entriesMax * TABLE_COST_BYTES);
    this.#announcements = new Announcements(this.#table, this.#rows, GROUP_COUNTS);
  }

  /** Bytes of all arrays. */
  get byteLength(): number {
    return this.#table.byteLength + this.#rows.byteLength;
  }

  /** Blocks the source holds on any tier. */
  get heldBlocks(): number {
    return this.#heldCount;
  }

  /** Blocks known, held or not. */
  get knownBlocks(): number {
    return this.#table.size;
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
    const place = groupIndex === null ? 0 : this.#groups.indexOf(groupIndex);
    if (place < 0 || (place > 0 && shift > 0)) {
      this.counts.otherGroup += blocks;
      return;
    }
    for (let i = 0; i < blocks; i++) {
      const id = this.#find(hashes, i);
      if (id === NONE || this.#announcements.count(id, shift, place) === 0) this.counts.unknown++;
      else this.#count(id, shift, place, -1);
    }
  }

  /**
   * Nothing is held any more, or nothing that was is certain. Which tokens hashes stand for stays true,
   * and is kept.
   */
  cleared(): void {
    for (let id = 0; id < this.#rows.idsEnd; id++) {
      const was = this.#announcements.holding(id, this.#groups.length);
      // Where there are several groups, some may have what is not held.
      if (was === NOT_HELD && this.#groups.length < 2) continue;
      this.#announcements.clear(id);
      this.#changed(id, was);
    }
    // An engine that began anew may number them otherwise.
    this.#groups = [];
    this.#blockSize = 0;
  }

  /** Tells the sink of every block that is held, as if it was stored just now. */
  tellAgain(): void {
    for (let id = 0; id < this.#rows.idsEnd; id++) {
      const holding = this.#announcements.holding(id, this.#groups.length);
      if (holding !== NOT_HELD) this.#tell(id, holding);
    }
  }

  /** Engines may count instead of hashing; the table needs keys whose bits are spread. */
  #find(hashes: Uint32Array, at: number): number {
    const low = hashes[at * 2]!;
    return this.#table.find(keyLow(low), keyHigh(low, hashes[at * 2 + 1]!));
  }

  /** 0 for the group that leads and where there are none; -1 for a group that is not looked at. */
  #placeOf({ group, tier, tokens, blockSize }: KvBlocksStored): number {
    if (group === null) return 0;
    const { index, kind } = group;
    const place = this.#groups.indexOf(index);
    if (place >= 0) return place;
    if (kind === null || !WHOLE_PREFIX_KINDS.has(kind) || tier !== "gpu") return -1;
    if (this.#groups.length === 0) this.#blockSize = blockSize;
    else if (tokens.length === 0 || blockSize !== this.#blockSize) return -1;
    if (this.#groups.length > ANNOUNCEMENT_LIMITS.otherGroupsMax) return -1;
    const before = this.#groups.length;
    this.#groups.push(index);
    if (before > 0) this.#regroup(before);
    return before;
  }

  /** One group more is known: what it did not announce is not held. */
  #regroup(before: number): void {
    for (let id = 0; id < this.#rows.idsEnd; id++) {
      const was = this.#announcements.holding(id, before);
      if (was !== NOT_HELD) this.#changed(id, was);
    }
  }

  /** Blocks with their tokens, each behind the one before. */
  #storeChain(event: KvBlocksStored, blocks: number, shift: number, place: number): void {
    const { hashes, tokens, blockSize, extraKeys } = event;
    const adapter = this.#adapterIndex(event.loraName);
    if (adapter < 0) {
      this.counts.leftOut += blocks;
      return;
    }
    if (!this.#beginAt(event, adapter)) {
      this.counts.orphaned += blocks;
      return;
    }
    const chain = this.#chain;
    for (let i = 0; i < blocks; i++) {
      const extras = extraKeys?.[i];
      if (extras !== undefined && hasUnplaced(extras, i > 0 || event.parent !== null)) {
        this.counts.unplaced++;
      }
      chain.addBlock(tokens, i * blockSize, (i + 1) * blockSize, extras);
      let id = this.#find(hashes, i);
      if (id === NONE) id = this.#addEntry(hashes, i, adapter);
      else if (!this.#isHere(id, adapter)) {
        this.counts.conflicting++;
        continue;
      }
      if (id === NONE) {
        this.counts.leftOut += blocks - i;
        return;
      }
      this.#announce(id, shift, place);
    }
  }

  /** Puts the chain where the event's first block begins. False if that is not known. */
  #beginAt(event: KvBlocksStored, adapter: number): boolean {
    const { parent } = event;
    if (parent === null) {
      this.#chain.begin(event.loraName);
      return true;
    }
    const id = this.#find(parent, 0);
    if (id === NONE || this.#table.payload(id) >>> ADAPTER_SHIFT !== adapter) return false;
    this.#chain.resume(this.#rows.get(id, STATE_LOW), this.#rows.get(id, STATE_HIGH));
    return true;
  }

  /** Whether the entry is of the block at whose end the chain stands. */
  #isHere(id: number, adapter: number): boolean {
    return (
      this.#rows.get(id, STATE_LOW) === this.#chain.stateLow >>> 0 &&
      this.#rows.get(id, STATE_HIGH) === this.#chain.stateHigh >>> 0 &&
      this.#table.payload(id) >>> ADAPTER_SHIFT === adapter
    );
  }

  /** An unheld entry at the chain's place, or NONE where there is no room. */
  #addEntry(hashes: Uint32Array, at: number, adapter: number): number {
    if (this.#table.size >= this.#entriesMax && !this.#forgetOldest()) return NONE;
    const low = hashes[at * 2]!;
    const id = this.#table.add(keyLow(low), keyHigh(low, hashes[at * 2 + 1]!));
    if (id === NONE) return NONE;
    this.#announcements.begin(id, adapter);
    this.#rows.set(id, STATE_LOW, this.#chain.stateLow);
    this.#rows.set(id, STATE_HIGH, this.#chain.stateHigh);
    this.#pushUnheld(id);
    return id;
  }

  #announce(id: number, shift: number, place: number): void {
    if (this.#announcements.isFull(id, shift, place)) this.counts.leftOut++;
    else this.#count(id, shift, place, 1);
  }

  /** Counts an announcement, or takes one back. */
  #count(id: number, shift: number, place: number, by: 1 | -1): void {
    const was = this.#announcements.holding(id, this.#groups.length);
    this.#announcements.add(id, shift, place, by);
    this.#changed(id, was);
  }

  /** Tells what an entry's other counts mean. */
  #changed(id: number, was: Holding): void {
    const is = this.#announcements.holding(id, this.#groups.length);
    if (was === is) return;
    if (was === NOT_HELD) {
      this.#unlinkUnheld(id);
      this.#heldCount++;
    } else if (is === NOT_HELD) {
      this.#pushUnheld(id);
      this.#heldCount--;
    }
    this.#tell(id, is);
  }

  #tell(id: number, holding: Holding): void {
    const stateLow = this.#rows.get(id, STATE_LOW);
    const stateHigh = this.#rows.get(id, STATE_HIGH);
    this.#sink.held(this.#slot, keyLow(stateLow), keyHigh(stateLow, stateHigh), holding);
  }

  #adapterIndex(name: string | null): number {
    const known = this.#adapters.get(name);
    if (known !== undefined) return known;
    const index = this.#adapters.size;
    if (index === REKEYER_LIMITS.adaptersMax) return -1;
    this.#adapters.set(name, index);
    return index;
  }

  #pushUnheld(id: number): void {
    this.#rows.set(id, OLDER, this.#newest);
    this.#rows.set(id, NEWER, 0);
    if (this.#newest === 0) this.#oldest = id + 1;
    else this.#rows.set(this.#newest - 1, NEWER, id + 1);
    this.#newest = id + 1;
  }

  #unlinkUnheld(id: number): void {
    const older = this.#rows.get(id, OLDER);
    const newer = this.#rows.get(id, NEWER);
    if (older === 0) this.#oldest = newer;
    else this.#rows.set(older - 1, NEWER, newer);
    if (newer === 0) this.#newest = older;
    else this.#rows.set(newer - 1, OLDER, older);
  }

  #forgetOldest(): boolean {
    if (this.#oldest === 0) return false;
    const id = this.#oldest - 1;
    this.#unlinkUnheld(id);
    this.#table.remove(id);
    return true;
  }
}

/** Media without a place: salts are told as they are, but stand in the first block of a prompt only. */
function hasUnplaced(extras: readonly KvExtraKey[], isBehindFirst: boolean): boolean {
  return isBehindFirst && extras.some(({ kind }) => kind === "text");
}
