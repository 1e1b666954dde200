// Which of a pool's objects each block is of interest to: by the blocks before it, so these are kept.
//
//   payload   the entry of the block before, + 2; 1 at the beginning of a prompt; 0: not in use
//   row       end, in units │ behind, and whether it was named lately │ map's number, and where the walk is
//
// Where a walk down the prompt has got to is kept with each block, for the map that there is: it is looked up
// once a map, from the nearest block that has it. A block whose beginning is not known, and one above a split,
// is of interest to all.
//
// Units are what the keys of requests are a whole number of: a block may end between two of those. Blocks that
// others are behind stay; of the others, the one named longest ago goes first.

import { ONE_SHARD, type ShardMap } from "../../shards/contracts.ts";
import {
  EVERY_SHARD,
  prepareShards,
  shardOfWalk,
  WALK_START,
  walkOn,
} from "../../shards/shard-of.ts";
import { BlockTable, NONE } from "../block-table.ts";
import { Rows } from "./rows.ts";

/** About as many as all accounts of one pool know content of. Memory is taken as blocks come. */
export const CHAIN_BLOCKS_MAX = 400_000;
/** Before the first block of a prompt. */
export const CHAIN_START = -2;

/** Bytes a key costs; see ENTRY_COST_BYTES in block-table.ts. */
const KEY_COST_BYTES = 22;
/** Entries looked at for one to forget. */
const LOOK_MAX = 256;

const BEFORE_SHIFT = 2;
/** Words of a row. */
const END = 0;
/** Twice the number of blocks behind it, and 1 for one that was named lately. */
const BEHIND = 1;
/** The map's number in the upper half. */
const WALK = 2;
const ROW_WORDS = 3;
const RECENT = 1;
const ONE_BEHIND = 2;

/** A walk may be below 0. */
const WALK_OFFSET = 32;
/** Engines' blocks are longer than what keys are given for, and a split is in the middle of one. */
const LOST = 0;
const WALK_MASK = 0xffff;
const MAPS_MAX = 0xffff;

export class KeyChains {
  readonly #unitsPerKey: number;
  readonly #blocksMax: number;
  readonly #table: BlockTable;
  readonly #rows = new Rows(ROW_WORDS);
  readonly #key = new Uint32Array(2);
  /** Entries from a block back to the nearest one whose walk is known. */
  readonly #path: number[] = [];
  #shards = prepareShards(ONE_SHARD);
  #mapNumber = 1;
  #hand = 0;
  #idsEnd = 0;

  /** Of content, where each block has a key, one unit is a key. */
  constructor(unitsPerKey = 1, blocksMax: number = CHAIN_BLOCKS_MAX) {
    this.#unitsPerKey = unitsPerKey;
    this.#blocksMax = blocksMax;
    this.#table = new BlockTable(blocksMax * KEY_COST_BYTES);
  }

  /** Blocks whose beginnings are known. */
  get size(): number {
    return this.#table.size;
  }

  get byteLength(): number {
    return this.#table.byteLength + this.#rows.byteLength;
  }

  /** Goes by another map from now on. */
  use(map: ShardMap): void {
    this.#shards = prepareShards(map);
    if (this.#mapNumber < MAPS_MAX) {
      this.#mapNumber++;
      return;
    }
    this.#mapNumber = 1;
    for (let id = 0; id < this.#idsEnd; id++) this.#rows.set(id, WALK, 0);
  }

  /** Learns the blocks of a prompt from its beginning, each with a key: two words each. */
  learn(keys: Uint32Array): void {
    let id = CHAIN_START;
    for (let at = 0; at < keys.length && id !== NONE; at += 2) {
      id = this.add(id, keys[at]!, keys[at + 1]!, this.#unitsPerKey);
    }
  }

  /** The entry of a block; NONE for one that is not known. */
  find(low: number, high: number): number {
    return this.#table.find(low, high);
  }

  /**
   * Learns a block of so many units behind the one of entry `before`, or CHAIN_START. Its entry, which is good
   * until the next but one is learned; NONE where the one before is not known, or there is no room.
   */
  add(before: number, low: number, high: number, units: number): number {
    if (before === NONE) return NONE;
    let id = this.#table.find(low, high);
    if (id !== NONE) {
      this.#rows.set(id, BEHIND, this.#rows.get(id, BEHIND) | RECENT);
      return id;
    }
    if (this.#table.size >= this.#blocksMax && !this.#forgetOne(before)) return NONE;
    id = this.#table.add(low, high);
    if (id === NONE) return NONE;
    if (id >= this.#idsEnd) this.#idsEnd = id + 1;
    const isFirst = before === CHAIN_START;
    this.#table.setPayload(id, isFirst ? 1 : before + BEFORE_SHIFT);
    this.#rows.set(id, END, (isFirst ? 0 : this.#rows.get(before, END)) + units);
    this.#rows.set(id, BEHIND, RECENT);
    this.#rows.set(id, WALK, 0);
    if (!isFirst) this.#rows.set(before, BEHIND, this.#rows.get(before, BEHIND) + ONE_BEHIND);
    return id;
  }

  /** The shard that a block is of interest to, or EVERY_SHARD. Amortised O(1) a map and block. */
  // Hot path: kv-stream in bench/.
  shardOf(low: number, high: number): number {
    if (this.#shards.count === 1) return 0;
    const id = this.#table.find(low, high);
    if (id === NONE) return EVERY_SHARD;
    const walk = this.#walkOf(id);
    return walk === LOST ? EVERY_SHARD : shardOfWalk(walk - WALK_OFFSET);
  }

  #walkOf(from: number): number {
    let id = from;
    let walk = this.#knownWalk(id);
    while (walk === undefined) {
      this.#path.push(id);
      id = this.#table.payload(id) - BEFORE_SHIFT;
      walk = id < 0 ? WALK_START + WALK_OFFSET : this.#knownWalk(id);
    }
    while (this.#path.length > 0) {
      id = this.#path.pop()!;
      walk = this.#walkOn(walk, id);
      this.#rows.set(id, WALK, this.#mapNumber * (WALK_MASK + 1) + walk);
    }
    return walk;
  }

  #knownWalk(id: number): number | undefined {
    const word = this.#rows.get(id, WALK);
    return Math.floor(word / (WALK_MASK + 1)) === this.#mapNumber ? word & WALK_MASK : undefined;
  }

  /** The walk with one block more. */
  #walkOn(walk: number, id: number): number {
    const end = this.#rows.get(id, END);
    if (walk === LOST || end % this.#unitsPerKey !== 0) return walk;
    const block = end / this.#unitsPerKey - 1;
    if (block > walk - WALK_OFFSET && walk >= WALK_OFFSET) return LOST;
    this.#table.readKey(id, this.#key, 0);
    const next = walkOn(this.#shards, walk - WALK_OFFSET, [block, this.#key[0]!, this.#key[1]!]);
    return next + WALK_OFFSET;
  }

  /** Makes room for one behind entry `kept`, if a block that none is behind is near. */
  #forgetOne(kept: number): boolean {
    let chosen = NONE;
    for (let looked = 0; looked < LOOK_MAX; looked++) {
      const id = this.#hand;
      this.#hand = id + 1 < this.#idsEnd ? id + 1 : 0;
      const behind = this.#rows.get(id, BEHIND);
      if (this.#table.payload(id) === 0 || behind >= ONE_BEHIND || id === kept) continue;
      const isRecent = (behind & RECENT) !== 0;
      if (isRecent) this.#rows.set(id, BEHIND, behind - RECENT);
      if (chosen === NONE || !isRecent) chosen = id;
      if (!isRecent) break;
    }
    if (chosen === NONE) return false;
    const before = this.#table.payload(chosen) - BEFORE_SHIFT;
    this.#table.remove(chosen);
    if (before >= 0) this.#rows.set(before, BEHIND, this.#rows.get(before, BEHIND) - ONE_BEHIND);
    return true;
  }
}
