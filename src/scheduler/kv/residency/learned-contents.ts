// The content blocks that are known, and what became of each: a span of token blocks, all of which it
// needs, or alternatives, any of which will do. See content-residency.ts for which and why.

import { BlockTable, NONE } from "../block-table.ts";
import { CONTENTS_PER_TOKEN_BLOCK_MAX, ContentSpans } from "./content-spans.ts";
import { HELD_ON_GPU, type Holding, NOT_HELD } from "./holding.ts";
import { Rows } from "./rows.ts";
import { TABLE_COST_BYTES, type TokenHolders } from "./token-holders.ts";

/** First blocks of prompts that one content block is known to begin. */
export const ALTERNATIVES_MAX = 1_024;

/** Words of a content entry's row. */
const END = 0;
/** The token entry linked last: at a span's end, or the newest alternative. */
const LAST_TOKEN = 1;
/** Links of the entry, and whether they are alternatives. */
const LINK_COUNT = 2;
const HAS_ALTERNATIVES = 3;
/** 1 since it was learned, until the clock's hand comes by. */
const IS_RECENT = 4;
const ROW_WORDS = 5;
/** Bytes an entry costs, without its links. */
export const CONTENT_COST_BYTES = TABLE_COST_BYTES + ROW_WORDS * 4;

/** A prompt's token blocks from `from` to `end`; with an end of 0 its first one, as an alternative. */
export interface TokenSpan {
  readonly keys: Uint32Array;
  readonly from: number;
  readonly end: number;
}

export class LearnedContents {
  readonly #entriesMax: number;
  readonly #tokens: TokenHolders;
  /** The payload is the first link + 1. */
  readonly #table: BlockTable;
  readonly #rows = new Rows(ROW_WORDS);
  readonly #spans: ContentSpans;
  readonly #slots: Uint16Array;
  /** By slot: token blocks that it holds and that stand for content. */
  readonly #heldKnown: Uint32Array;
  #idsEnd = 0;

  constructor(tokens: TokenHolders, entriesMax: number, linkBytesMax: number) {
    this.#tokens = tokens;
    this.#entriesMax = entriesMax;
    this.#table = new BlockTable(entriesMax * TABLE_COST_BYTES);
    this.#spans = new ContentSpans(linkBytesMax);
    this.#slots = new Uint16Array(tokens.slotsMax);
    this.#heldKnown = new Uint32Array(tokens.slotsMax);
  }

  get byteLength(): number {
    return this.#table.byteLength + this.#rows.byteLength + this.#spans.byteLength;
  }

  get size(): number {
    return this.#table.size;
  }

  get isFull(): boolean {
    return this.#table.size >= this.#entriesMax;
  }

  /** One past the highest entry there ever was. */
  get idsEnd(): number {
    return this.#idsEnd;
  }

  find(low: number, high: number): number {
    return this.#table.find(low, high);
  }

  /** An entry without links. NONE where there is no room for it. */
  add(low: number, high: number): number {
    if (this.isFull) return NONE;
    const content = this.#table.add(low, high);
    if (content === NONE) return NONE;
    if (content >= this.#idsEnd) this.#idsEnd = content + 1;
    for (let word = 0; word < ROW_WORDS; word++) this.#rows.set(content, word, 0);
    return content;
  }

  /** Removes an entry without links. */
  remove(content: number): void {
    this.#table.remove(content);
  }

  readKey(content: number, out: Uint32Array): void {
    this.#table.readKey(content, out, 0);
  }

  hasLinks(content: number): boolean {
    return this.#table.payload(content) !== 0;
  }

  /** Whether it was learned since this was last asked. */
  takeRecent(content: number): boolean {
    const isRecent = this.#rows.get(content, IS_RECENT) === 1;
    this.#rows.set(content, IS_RECENT, 0);
    return isRecent;
  }

  markRecent(content: number): void {
    this.#rows.set(content, IS_RECENT, 1);
  }

  /** Whether anybody holds the token block linked last. */
  isLastHeld(content: number): boolean {
    return this.#tokens.isHeld(this.#rows.get(content, LAST_TOKEN));
  }

  /** Token blocks settled by it and all before it, as known. */
  end(content: number): number {
    return this.#rows.get(content, END);
  }

  hasAlternatives(content: number): boolean {
    return this.#rows.get(content, HAS_ALTERNATIVES) === 1;
  }

  /** Whether a prompt has, at this place, the token block that was linked last. */
  isLastAt(content: number, keys: Uint32Array, at: number): boolean {
    if (at * 2 >= keys.length) return false;
    const token = this.#tokens.find(keys[at * 2]!, keys[at * 2 + 1]!);
    return token !== NONE && token === this.#rows.get(content, LAST_TOKEN);
  }

  isKnownAs(content: number, { keys, from, end }: TokenSpan, linksMax: number): boolean {
    if (this.end(content) !== end) return false;
    if (end > 0) {
      const isAsLong = this.#rows.get(content, LINK_COUNT) === Math.min(end - from, linksMax);
      return isAsLong && this.isLastAt(content, keys, end - 1);
    }
    const token = this.#tokens.find(keys[0]!, keys[1]!);
    let link = token === NONE ? NONE : this.firstOf(token);
    while (link !== NONE && this.contentOf(link) !== content) link = this.nextOf(link);
    return link !== NONE;
  }

  // The content blocks that a token block stands for.

  firstOf(token: number): number {
    return this.#spans.firstContent(token);
  }

  nextOf(link: number): number {
    return this.#spans.nextContent(link);
  }

  contentOf(link: number): number {
    return this.#spans.content(link);
  }

  isKnownToken(token: number): boolean {
    return this.#spans.contentCount(token) > 0;
  }

  /** Token blocks that the endpoint holds and that stand for content. */
  heldKnown(slot: number): number {
    return this.#heldKnown[slot]!;
  }

  /** A token block that stands for content was not held at `slot` and is, or was and is not. */
  heldChanged(slot: number, by: 1 | -1): void {
    this.#heldKnown[slot]! += by;
  }

  /** Whether there is room for one more link. */
  get hasRoom(): boolean {
    return this.#spans.hasRoom;
  }

  /** False where the token block stands for too much content already, or there is no room. */
  push(content: number, token: number): boolean {
    if (!this.hasRoom || this.#spans.contentCount(token) === CONTENTS_PER_TOKEN_BLOCK_MAX) {
      return false;
    }
    if (!this.isKnownToken(token)) this.#countHolders(token, 1);
    const link = this.#spans.push(this.#table.payload(content) - 1, token, content);
    this.#table.setPayload(content, link + 1);
    this.#rows.set(content, LAST_TOKEN, token);
    this.#rows.set(content, LINK_COUNT, this.#rows.get(content, LINK_COUNT) + 1);
    return true;
  }

  setEnd(content: number, end: number): void {
    this.#rows.set(content, END, end);
    this.#rows.set(content, HAS_ALTERNATIVES, end === 0 ? 1 : 0);
    this.#rows.set(content, IS_RECENT, 1);
  }

  /** Takes all links away; token blocks that nothing else needs go with them. */
  unlink(content: number): void {
    let link = this.#table.payload(content) - 1;
    while (link !== NONE) {
      const token = this.#spans.token(link);
      link = this.#spans.shift(link);
      if (!this.isKnownToken(token)) this.#countHolders(token, -1);
      this.removeIfUnused(token);
    }
    this.#table.setPayload(content, 0);
    this.#rows.set(content, LINK_COUNT, 0);
  }

  /** Before one more alternative: lets go of those that nobody holds when there are too many. */
  trimAlternatives(content: number): void {
    if (this.#rows.get(content, LINK_COUNT) < ALTERNATIVES_MAX) return;
    const held: number[] = [];
    for (
      let link = this.#table.payload(content) - 1;
      link !== NONE;
      link = this.#spans.next(link)
    ) {
      const token = this.#spans.token(link);
      if (this.#tokens.isHeld(token)) held.push(token);
    }
    this.unlink(content);
    // The oldest goes if all are held.
    const kept = held.slice(0, ALTERNATIVES_MAX - 1);
    for (const token of kept.toReversed()) this.push(content, token);
  }

  removeIfUnused(token: number): void {
    if (!this.#tokens.isHeld(token) && !this.isKnownToken(token)) this.#tokens.remove(token);
  }

  /** How an endpoint holds a content block, but for one token block that is looked at elsewhere. */
  holding(content: number, slot: number, except: number): Holding {
    const isAny = this.hasAlternatives(content);
    const farthest = isAny ? HELD_ON_GPU : NOT_HELD;
    let holding: Holding = isAny ? NOT_HELD : HELD_ON_GPU;
    let link = this.#table.payload(content) - 1;
    for (; link !== NONE && holding !== farthest; link = this.#spans.next(link)) {
      const token = this.#spans.token(link);
      if (token === except) continue;
      const one = this.#tokens.holding(token, slot);
      if (isAny ? one > holding : one < holding) holding = one;
    }
    return holding;
  }

  /** Writes how each endpoint holds a content block. */
  readHoldings(content: number, out: Uint8Array): void {
    out.fill(0, 0, this.#tokens.slotsEnd);
    const isAny = this.hasAlternatives(content);
    for (
      let link = this.#table.payload(content) - 1;
      link !== NONE;
      link = this.#spans.next(link)
    ) {
      const count = this.#tokens.readSlots(this.#spans.token(link), this.#slots);
      for (let i = 0; i < count; i++) {
        const slot = this.#slots[i]!;
        if (out[slot] !== HELD_ON_GPU) out[slot] = this.holding(content, slot, NONE);
      }
      // Who holds all blocks of a span holds its last, which is linked first.
      if (!isAny) return;
    }
  }

  /** A token block began to stand for content, or ceased to. */
  #countHolders(token: number, by: 1 | -1): void {
    const count = this.#tokens.readSlots(token, this.#slots);
    for (let i = 0; i < count; i++) this.heldChanged(this.#slots[i]!, by);
  }
}
