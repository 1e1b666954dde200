// The token blocks that stand for content, as a tree: each knows the block before it, and those behind it.
//
//   … s1 ─► s2 ─► s3 ┬─► u1   c23 of one prompt:      s2 s3 u1      a span is a path: its last block and
//                    ├─► u2   c23 of another:         s2 s3 u2      how many blocks it has
//                    └─► u3   …
//
// A token key names all tokens before it, so the block before is always the same. Prompts that begin alike
// share blocks, and a span that begins with shared ones costs them nothing: content stands in the list of its
// last block only. What an event on a shared block means is found by walking to the blocks behind it that
// the endpoint holds. Blocks with many behind them count how many of these each endpoint holds, so that a
// shared block that goes last, as engines evict, or comes first looks at none.

import { NONE } from "../block-table.ts";
import { Rows } from "./rows.ts";
import type { TokenHolders } from "./token-holders.ts";

/** Content blocks that end with one token block, or begin: for a further one the oldest goes. */
export const CONTENTS_PER_TOKEN_BLOCK_MAX = 1_024;
/** Blocks behind one block from which on it counts who holds any of them, until there are half as many. */
const FORK_MIN = 32;

/** Words of a row. Ids are kept + 1, so that zeros are none. */
const BEFORE = 0;
const FIRST_BEHIND = 1;
/** The list of those behind the same block. */
const NEXT_BESIDE = 2;
const LAST_BESIDE = 3;
/** The content learned last of that which ends here, see LearnedContents. */
const CONTENT = 4;
/** Content that needs it; and of that, what needs the block before it as well. */
const SPANS = 5;
const JOINS = 6;
/** How many content blocks end here, or begin. */
const CONTENT_COUNT = 7;
/** How many blocks are behind it; and in the low bits its reach, which never is too short. */
const FORK = 8;
const REACH_BITS = 9;
const REACH_MASK = 2 ** REACH_BITS - 1;
const ONE_BEHIND = 2 ** REACH_BITS;
const ROW_WORDS = 9;
/** Bytes a token block costs here. */
export const CHAIN_COST_BYTES = ROW_WORDS * 4;
/** Token blocks of one content block at most: 256 bytes are as many tokens, in blocks of one. */
export const SPAN_BLOCKS_MAX = 2 ** REACH_BITS;

export class TokenChains {
  readonly #tokens: TokenHolders;
  /** Forks that count; further ones are walked. */
  readonly #forksMax: number;
  readonly #rows = new Rows(ROW_WORDS);
  /** By token block, and by slot: blocks behind it that the endpoint holds. */
  readonly #forks = new Map<number, Uint32Array>();
  readonly #slots: Uint16Array;

  constructor(tokens: TokenHolders, forkBytesMax: number) {
    this.#tokens = tokens;
    this.#forksMax = Math.floor(forkBytesMax / (tokens.slotsMax * 4));
    this.#slots = new Uint16Array(tokens.slotsMax);
  }

  get byteLength(): number {
    return this.#rows.byteLength + this.#forks.size * this.#tokens.slotsMax * 4;
  }

  /** The block before, or NONE where no content needs both. */
  before(token: number): number {
    return this.#rows.get(token, BEFORE) - 1;
  }

  firstBehind(token: number): number {
    return this.#rows.get(token, FIRST_BEHIND) - 1;
  }

  nextBeside(token: number): number {
    return this.#rows.get(token, NEXT_BESIDE) - 1;
  }

  /** Most blocks before it that any content needs with it. */
  reach(token: number): number {
    return this.#rows.get(token, FORK) & REACH_MASK;
  }

  /** Whether all content that needs it needs the block before it as well. */
  isNeverFirst(token: number): boolean {
    return this.#rows.get(token, SPANS) === this.#rows.get(token, JOINS);
  }

  /** Whether content is known that needs it. */
  isNeeded(token: number): boolean {
    return this.#rows.get(token, SPANS) > 0;
  }

  /** How many of the blocks behind it the endpoint holds; Infinity where that is not counted. */
  heldBehind(token: number, slot: number): number {
    // Few are looked at sooner than counted.
    if (this.#countBehind(token) < FORK_MIN / 2) return Infinity;
    return this.#forks.get(token)?.[slot] ?? Infinity;
  }

  /**
   * One span more needs a block, with `reach` blocks before it. False if the block before it is another than
   * was known: no such span can be.
   */
  enter(token: number, before: number, reach: number): boolean {
    if (before !== NONE) {
      const known = this.before(token);
      if (known !== NONE && known !== before) return false;
      if (known === NONE) this.#join(token, before);
      this.#add(token, JOINS, 1);
      const more = reach - this.reach(token);
      if (more > 0) this.#add(token, FORK, more);
    }
    this.#add(token, SPANS, 1);
    return true;
  }

  /** One span less needs it. Spans are left from their last block on; the first is no longer joined. */
  leave(token: number, isFirst: boolean): void {
    this.#add(token, SPANS, -1);
    if (isFirst) return;
    this.#add(token, JOINS, -1);
    if (this.#rows.get(token, JOINS) === 0) this.#part(token);
  }

  /** An endpoint began to hold a block, or ceased to. */
  heldChanged(token: number, slot: number, by: 1 | -1): void {
    const before = this.before(token);
    if (before === NONE || this.#countBehind(before) < FORK_MIN / 2) return;
    const counts = this.#forks.get(before);
    if (counts !== undefined) counts[slot]! += by;
  }

  /** The content learned last of that which ends with a block, as LearnedContents keeps it. */
  content(token: number): number {
    return this.#rows.get(token, CONTENT) - 1;
  }

  contentCount(token: number): number {
    return this.#rows.get(token, CONTENT_COUNT);
  }

  setContent(token: number, content: number): void {
    this.#rows.set(token, CONTENT, content + 1);
  }

  /** Content that ends here or begins, one more or less. */
  addContent(token: number, by: 1 | -1): void {
    this.#add(token, CONTENT_COUNT, by);
  }

  /** The block is known to be behind another. */
  #join(token: number, before: number): void {
    const next = this.firstBehind(before);
    this.#rows.set(token, BEFORE, before + 1);
    this.#rows.set(token, NEXT_BESIDE, next + 1);
    this.#rows.set(token, LAST_BESIDE, 0);
    if (next !== NONE) this.#rows.set(next, LAST_BESIDE, token + 1);
    this.#rows.set(before, FIRST_BEHIND, token + 1);
    this.#add(before, FORK, ONE_BEHIND);
    if (this.#forks.has(before)) this.#countHolders(before, token, 1);
    else if (this.#countBehind(before) >= FORK_MIN) this.#beginFork(before);
  }

  #part(token: number): void {
    const before = this.before(token);
    const next = this.nextBeside(token);
    const last = this.#rows.get(token, LAST_BESIDE) - 1;
    if (last === NONE) this.#rows.set(before, FIRST_BEHIND, next + 1);
    else this.#rows.set(last, NEXT_BESIDE, next + 1);
    if (next !== NONE) this.#rows.set(next, LAST_BESIDE, last + 1);
    this.#rows.set(token, BEFORE, 0);
    this.#add(token, FORK, -this.reach(token));
    this.#add(before, FORK, -ONE_BEHIND);
    if (this.#countBehind(before) < FORK_MIN / 2) this.#forks.delete(before);
    else if (this.#forks.has(before)) this.#countHolders(before, token, -1);
  }

  #beginFork(token: number): void {
    if (this.#forks.size >= this.#forksMax) return;
    this.#forks.set(token, new Uint32Array(this.#tokens.slotsMax));
    for (let each = this.firstBehind(token); each !== NONE; each = this.nextBeside(each)) {
      this.#countHolders(token, each, 1);
    }
  }

  #countHolders(fork: number, token: number, by: 1 | -1): void {
    const counts = this.#forks.get(fork)!;
    const count = this.#tokens.readSlots(token, this.#slots);
    for (let i = 0; i < count; i++) counts[this.#slots[i]!]! += by;
  }

  #countBehind(token: number): number {
    return this.#rows.get(token, FORK) >>> REACH_BITS;
  }

  #add(token: number, word: number, by: number): void {
    this.#rows.set(token, word, this.#rows.get(token, word) + by);
  }
}
