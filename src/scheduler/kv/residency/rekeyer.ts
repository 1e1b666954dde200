// One source's cache, from the engine's hashes to our keys.
//
//   engine hash ──► entry ┬ state of the chain at the block's end: gives its key, and its children's
//                         ├ count of announcements by tier      gpu │ cpu │ disk
//                         └ adapter
//
//   held: a count above 0 ── all 0 ──► kept, the longest unheld first to go ── room needed ──► forgotten
//                 └──────── stored again ◄──┘
//
// Blocks are announced more than once (overlapping offload chunks, two copies of a block) and removed as
// often, so announcements are counted. Blocks that nothing holds are kept while there is room: children and
// lower tiers name them after their removal, and after a gap what is announced next has them as parents.
// What cannot be followed is not claimed, and counted: a block taken for absent costs a hit, one taken
// for present costs the choice.

import { BlockTable, NONE } from "../block-table.ts";
import { HELD_BELOW, HELD_ON_GPU, type Holding, type HoldingSink, NOT_HELD } from "./holding.ts";
import type { KvBlocksRemoved, KvBlocksStored, KvCacheGroup, KvTier } from "./kv-event.ts";
import { Rows } from "./rows.ts";
import { keyHigh, keyLow, TokenKeyChain } from "./token-keys.ts";

export const REKEYER_LIMITS = {
  /** Of one source: 800,000 blocks. Memory is taken as blocks come. */
  bytesMax: 32 * 1024 * 1024,
  /** Adapters of one source; blocks of further ones are not followed. The base model is one. */
  adaptersMax: 255,
  /** Announcements of one block on one tier that are told apart. */
  announcementsMax: 255,
} as const;

/** Bytes an entry costs: 22 in the table, 16 its row. */
const TABLE_COST_BYTES = 22;
const ENTRY_COST_BYTES = TABLE_COST_BYTES + 16;

/** Words of a row. The list of unheld entries links ids + 1. */
const STATE_LOW = 0;
const STATE_HIGH = 1;
const OLDER = 2;
const NEWER = 3;

/** Where a tier's count stands in the payload; the adapter's index stands above. */
const TIER_SHIFTS: Partial<Record<KvTier, number>> = { gpu: 0, cpu: 8, disk: 16 };
const COUNT_MASK = 0xff;
const COUNTS_MASK = 0xff_ffff;
const ADAPTER_SHIFT = 24;

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
  };
  readonly #slot: number;
  readonly #sink: HoldingSink;
  readonly #table: BlockTable;
  readonly #entriesMax: number;
  readonly #rows = new Rows(4);
  readonly #chain = new TokenKeyChain();
  readonly #adapters = new Map<string | null, number>();
  /** The group whose blocks stand for all; of several that need every block the first one seen. */
  #group = -1;
  /** Ids + 1 of the unheld entries that have been so the longest, and the shortest. */
  #oldest = 0;
  #newest = 0;
  #heldCount = 0;

  /** `slot` is what the sink is told. */
  constructor(slot: number, sink: HoldingSink, bytesMax: number = REKEYER_LIMITS.bytesMax) {
    this.#slot = slot;
    this.#sink = sink;
    this.#entriesMax = Math.max(1, Math.floor(bytesMax / ENTRY_COST_BYTES));
    this.#table = new BlockTable(this.#entriesMax * TABLE_COST_BYTES);
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
    if (event.group !== null && !this.#isIndexed(event.group)) {
      this.counts.otherGroup += blocks;
      return;
    }
    if (event.tokens.length === 0) {
      for (let i = 0; i < blocks; i++) {
        const id = this.#find(event.hashes, i);
        if (id === NONE) this.counts.unknown++;
        else this.#announce(id, shift);
      }
      return;
    }
    if (event.blockSize === 0 || event.tokens.length !== blocks * event.blockSize) {
      this.counts.uneven += blocks;
      return;
    }
    this.#storeChain(event, blocks, shift);
  }

  removed(event: KvBlocksRemoved): void {
    const { hashes, groupIndex } = event;
    const blocks = hashes.length >>> 1;
    const shift = TIER_SHIFTS[event.tier];
    if (shift === undefined) {
      this.counts.otherTier += blocks;
      return;
    }
    if (groupIndex !== null && groupIndex !== this.#group) {
      this.counts.otherGroup += blocks;
      return;
    }
    for (let i = 0; i < blocks; i++) {
      const id = this.#find(hashes, i);
      const payload = id === NONE ? 0 : this.#table.payload(id);
      if (((payload >>> shift) & COUNT_MASK) === 0) this.counts.unknown++;
      else this.#recount(id, payload, payload - (1 << shift));
    }
  }

  /**
   * Nothing is held any more, or nothing that was is certain. Which tokens hashes stand for stays true,
   * and is kept.
   */
  cleared(): void {
    for (let id = 0; id < this.#rows.idsEnd && this.#heldCount > 0; id++) {
      const payload = this.#table.payload(id);
      if ((payload & COUNTS_MASK) !== 0) this.#recount(id, payload, payload & ~COUNTS_MASK);
    }
  }

  /** Engines may count instead of hashing; the table needs keys whose bits are spread. */
  #find(hashes: Uint32Array, at: number): number {
    const low = hashes[at * 2]!;
    return this.#table.find(keyLow(low), keyHigh(low, hashes[at * 2 + 1]!));
  }

  /** An engine that began anew may number its groups otherwise: while nothing is held, any will do. */
  #isIndexed({ index, kind }: KvCacheGroup): boolean {
    const isOpen = this.#group < 0 || this.#heldCount === 0;
    if (isOpen && kind !== null && WHOLE_PREFIX_KINDS.has(kind)) this.#group = index;
    return index === this.#group;
  }

  /** Blocks with their tokens, each behind the one before. */
  #storeChain(event: KvBlocksStored, blocks: number, shift: number): void {
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
      if (extras !== undefined && extras.length > 0) chain.addExtras(extras);
      chain.addTokens(tokens, i * blockSize, (i + 1) * blockSize);
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
      this.#announce(id, shift);
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
    this.#table.setPayload(id, (adapter << ADAPTER_SHIFT) >>> 0);
    this.#rows.set(id, STATE_LOW, this.#chain.stateLow);
    this.#rows.set(id, STATE_HIGH, this.#chain.stateHigh);
    this.#pushUnheld(id);
    return id;
  }

  #announce(id: number, shift: number): void {
    const payload = this.#table.payload(id);
    if (((payload >>> shift) & COUNT_MASK) === REKEYER_LIMITS.announcementsMax) {
      this.counts.leftOut++;
      return;
    }
    this.#recount(id, payload, payload + (1 << shift));
  }

  /** Gives an entry other counts, and tells what that changes. */
  #recount(id: number, before: number, after: number): void {
    this.#table.setPayload(id, after);
    const was = holdingOf(before);
    const is = holdingOf(after);
    if (was === is) return;
    if (was === NOT_HELD) {
      this.#unlinkUnheld(id);
      this.#heldCount++;
    } else if (is === NOT_HELD) {
      this.#pushUnheld(id);
      this.#heldCount--;
    }
    const stateLow = this.#rows.get(id, STATE_LOW);
    const stateHigh = this.#rows.get(id, STATE_HIGH);
    this.#sink.held(this.#slot, keyLow(stateLow), keyHigh(stateLow, stateHigh), is);
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

function holdingOf(payload: number): Holding {
  if ((payload & COUNT_MASK) !== 0) return HELD_ON_GPU;
  return (payload & COUNTS_MASK) === 0 ? NOT_HELD : HELD_BELOW;
}
