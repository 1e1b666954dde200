// The content blocks that are known, and what became of each: a span of token blocks, all of which it
// needs, or alternatives, any of which will do. See content-residency.ts for which and why.

import { BlockTable, NONE } from "../block-table.ts";
import { ContentAlternatives } from "./content-alternatives.ts";
import { HELD_ON_GPU, type Holding, NOT_HELD } from "./holding.ts";
import { Rows } from "./rows.ts";
import { CONTENTS_PER_TOKEN_BLOCK_MAX, SPAN_BLOCKS_MAX, TokenChains } from "./token-chains.ts";
import { TABLE_COST_BYTES, type TokenHolders } from "./token-holders.ts";

/** First blocks of prompts that one content block is known to begin. */
export const ALTERNATIVES_MAX = 1_024;

/** Words of a content entry's row. */
const END = 0;
/** The token entry linked last: at a span's end, or the newest alternative. */
const LAST_TOKEN = 1;
/** Token blocks of the span, or alternatives. */
const TOKEN_COUNT = 2;
const HAS_ALTERNATIVES = 3;
/** 1 since it was learned, until the clock's hand comes by. */
const IS_RECENT = 4;
/** A ring of the content blocks that end with the same token block, newer and older; the newest is its head. */
const NEWER = 5;
const OLDER = 6;
const ROW_WORDS = 7;
/** Bytes an entry costs, without its alternatives. */
export const CONTENT_COST_BYTES = TABLE_COST_BYTES + ROW_WORDS * 4;

/** Payloads: nothing is linked yet; a span that is not complete; one that is. Above: first link + SPANNED. */
const UNLINKED = 0;
const SPANNING = 1;
const SPANNED = 2;

/** A prompt's token blocks from `from` to `end`; with an end of 0 its first one, as an alternative. */
export interface TokenSpan {
  readonly keys: Uint32Array;
  readonly from: number;
  readonly end: number;
}

export interface LearnedContentsBounds {
  readonly entriesMax: number;
  readonly alternativeBytesMax: number;
  readonly forkBytesMax: number;
}

export class LearnedContents {
  readonly #entriesMax: number;
  readonly #tokens: TokenHolders;
  readonly #table: BlockTable;
  readonly #rows = new Rows(ROW_WORDS);
  readonly #alternatives: ContentAlternatives;
  readonly #slots: Uint16Array;
  /** By slot: token blocks that it holds and that stand for content. */
  readonly #heldKnown: Uint32Array;
  #idsEnd = 0;
  /** Token blocks of spans. */
  readonly chains: TokenChains;

  constructor(tokens: TokenHolders, bounds: LearnedContentsBounds) {
    this.#tokens = tokens;
    this.#entriesMax = bounds.entriesMax;
    this.#table = new BlockTable(bounds.entriesMax * TABLE_COST_BYTES);
    this.#alternatives = new ContentAlternatives(bounds.alternativeBytesMax);
    this.chains = new TokenChains(tokens, bounds.forkBytesMax);
    this.#slots = new Uint16Array(tokens.slotsMax);
    this.#heldKnown = new Uint32Array(tokens.slotsMax);
  }

  get byteLength(): number {
    const { byteLength } = this.#alternatives;
    return this.#table.byteLength + this.#rows.byteLength + byteLength + this.chains.byteLength;
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

  /** An entry without token blocks. NONE where there is no room for it. */
  add(low: number, high: number): number {
    if (this.isFull) return NONE;
    const content = this.#table.add(low, high);
    if (content === NONE) return NONE;
    if (content >= this.#idsEnd) this.#idsEnd = content + 1;
    for (let word = 0; word < ROW_WORDS; word++) this.#rows.set(content, word, 0);
    return content;
  }

  /** Removes an entry without token blocks. */
  remove(content: number): void {
    this.#table.remove(content);
  }

  readKey(content: number, out: Uint32Array): void {
    this.#table.readKey(content, out, 0);
  }

  isLinked(content: number): boolean {
    return this.#table.payload(content) !== UNLINKED;
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

  /** Of its span, or alternatives. */
  tokenCount(content: number): number {
    return this.#rows.get(content, TOKEN_COUNT);
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

  isKnownAs(content: number, { keys, from, end }: TokenSpan): boolean {
    if (this.end(content) !== end) return false;
    if (end > 0) {
      const isAsLong = this.tokenCount(content) === Math.min(end - from, SPAN_BLOCKS_MAX);
      return isAsLong && this.isLastAt(content, keys, end - 1);
    }
    const token = this.#tokens.find(keys[0]!, keys[1]!);
    let link = token === NONE ? NONE : this.firstBegun(token);
    while (link !== NONE && this.contentOf(link) !== content) link = this.nextBegun(link);
    return link !== NONE;
  }

  // The content blocks that a token block is an alternative of: the prompt begins with it.

  firstBegun(token: number): number {
    return this.#alternatives.firstContent(token);
  }

  nextBegun(link: number): number {
    return this.#alternatives.nextContent(link);
  }

  contentOf(link: number): number {
    return this.#alternatives.content(link);
  }

  // The content blocks whose span ends with a token block: newest first, the oldest is before the newest.

  newestEnded(token: number): number {
    return this.chains.content(token);
  }

  /** The next older one, or NONE. */
  olderEnded(content: number): number {
    const older = this.#rows.get(content, OLDER);
    return older === this.newestEnded(this.#rows.get(content, LAST_TOKEN)) ? NONE : older;
  }

  /** The content block that is to go for a further one; NONE where there is room. */
  inTheWay(token: number): number {
    if (this.chains.contentCount(token) < CONTENTS_PER_TOKEN_BLOCK_MAX) return NONE;
    const newest = this.newestEnded(token);
    if (newest !== NONE) return this.#rows.get(newest, NEWER);
    let link = this.firstBegun(token);
    while (this.nextBegun(link) !== NONE) link = this.nextBegun(link);
    return this.contentOf(link);
  }

  isKnownToken(token: number): boolean {
    return this.chains.isNeeded(token) || this.firstBegun(token) !== NONE;
  }

  /** Token blocks that the endpoint holds and that stand for content. */
  heldKnown(slot: number): number {
    return this.#heldKnown[slot]!;
  }

  /** A token block was not held at `slot` and is, or was and is not. */
  heldChanged(token: number, slot: number, by: 1 | -1): void {
    this.#heldKnown[slot]! += by;
    this.chains.heldChanged(token, slot, by);
  }

  /** Whether there is room for one more alternative. */
  get hasRoom(): boolean {
    return this.#alternatives.hasRoom;
  }

  /** One alternative more. False where there is no room. The caller has looked what is in its way. */
  addAlternative(content: number, token: number): boolean {
    if (!this.hasRoom) return false;
    if (!this.isKnownToken(token)) this.#countHolders(token, 1);
    const first = Math.max(NONE, this.#firstLink(content));
    const link = this.#alternatives.push(first, token, content);
    this.chains.addContent(token, 1);
    this.#table.setPayload(content, link + SPANNED + 1);
    this.#linked(content, token);
    this.#rows.set(content, HAS_ALTERNATIVES, 1);
    this.#rows.set(content, END, 0);
    return true;
  }

  /** The next token block of the span. False where another was known to be before it. */
  extendSpan(content: number, token: number): boolean {
    const count = this.tokenCount(content);
    const before = count === 0 ? NONE : this.#rows.get(content, LAST_TOKEN);
    const wasKnown = this.isKnownToken(token);
    if (!this.chains.enter(token, before, count)) return false;
    if (!wasKnown) this.#countHolders(token, 1);
    this.#table.setPayload(content, SPANNING);
    this.#linked(content, token);
    return true;
  }

  /** The span is complete. The caller has looked what is in its way. */
  endSpan(content: number, end: number): void {
    const token = this.#rows.get(content, LAST_TOKEN);
    const newest = this.newestEnded(token);
    const oldest = newest === NONE ? content : this.#rows.get(newest, NEWER);
    this.#rows.set(content, OLDER, newest === NONE ? content : newest);
    this.#rows.set(content, NEWER, oldest);
    this.#rows.set(oldest, OLDER, content);
    if (newest !== NONE) this.#rows.set(newest, NEWER, content);
    this.chains.setContent(token, content);
    this.chains.addContent(token, 1);
    this.#table.setPayload(content, SPANNED);
    this.#rows.set(content, END, end);
    this.#rows.set(content, HAS_ALTERNATIVES, 0);
  }

  /** Takes all token blocks away; those that nothing else needs are forgotten. */
  unlink(content: number): void {
    if (this.hasAlternatives(content)) this.#unlinkAlternatives(content);
    else if (this.isLinked(content)) this.#unlinkSpan(content);
    this.#table.setPayload(content, UNLINKED);
    this.#rows.set(content, TOKEN_COUNT, 0);
    this.#rows.set(content, HAS_ALTERNATIVES, 0);
  }

  /** Before one more alternative: lets go of those that nobody holds when there are too many. */
  trimAlternatives(content: number): void {
    if (this.tokenCount(content) < ALTERNATIVES_MAX) return;
    const held: number[] = [];
    for (let link = this.#firstLink(content); link !== NONE; link = this.#alternatives.next(link)) {
      const token = this.#alternatives.token(link);
      if (this.#tokens.isHeld(token)) held.push(token);
    }
    this.unlink(content);
    // The oldest goes if all are held.
    const kept = held.slice(0, ALTERNATIVES_MAX - 1);
    for (const token of kept.toReversed()) this.addAlternative(content, token);
  }

  removeIfUnused(token: number): void {
    if (!this.#tokens.isHeld(token) && !this.isKnownToken(token)) this.#tokens.remove(token);
  }

  /** How an endpoint holds any alternative but one token block, which is looked at elsewhere. */
  anyHolding(content: number, slot: number, except: number): Holding {
    let holding: Holding = NOT_HELD;
    let link = this.#firstLink(content);
    for (; link !== NONE && holding !== HELD_ON_GPU; link = this.#alternatives.next(link)) {
      const token = this.#alternatives.token(link);
      if (token === except) continue;
      const one = this.#tokens.holding(token, slot);
      if (one > holding) holding = one;
    }
    return holding;
  }

  /** Writes how each endpoint holds a content block. */
  readHoldings(content: number, out: Uint8Array): void {
    out.fill(0, 0, this.#tokens.slotsEnd);
    if (!this.isLinked(content)) return;
    if (!this.hasAlternatives(content)) {
      // Who holds all blocks of a span holds its last.
      const last = this.#rows.get(content, LAST_TOKEN);
      const count = this.#tokens.readSlots(last, this.#slots);
      for (let i = 0; i < count; i++) {
        const slot = this.#slots[i]!;
        out[slot] = this.#spanHolding(content, slot);
      }
      if (this.#tokens.hasEndings) this.#readEndings(content, out);
      return;
    }
    for (let link = this.#firstLink(content); link !== NONE; link = this.#alternatives.next(link)) {
      const token = this.#alternatives.token(link);
      const count = this.#tokens.readSlots(token, this.#slots);
      for (let i = 0; i < count; i++) {
        const slot = this.#slots[i]!;
        if (out[slot] === HELD_ON_GPU) continue;
        const one = this.#tokens.holding(token, slot);
        if (one > out[slot]!) out[slot] = one;
      }
    }
  }

  /** Of slots that say where hits end: any block of the span will do. */
  #readEndings(content: number, out: Uint8Array): void {
    let token = this.#rows.get(content, LAST_TOKEN);
    for (let left = this.tokenCount(content); left > 0; left--) {
      const count = this.#tokens.readSlots(token, this.#slots);
      for (let i = 0; i < count; i++) {
        const slot = this.#slots[i]!;
        if (this.#tokens.isEndings(slot)) out[slot] = HELD_ON_GPU;
      }
      token = this.chains.before(token);
    }
  }

  #spanHolding(content: number, slot: number): Holding {
    let holding: Holding = HELD_ON_GPU;
    let token = this.#rows.get(content, LAST_TOKEN);
    for (let left = this.tokenCount(content); left > 0 && holding !== NOT_HELD; left--) {
      const one = this.#tokens.holding(token, slot);
      if (one < holding) holding = one;
      token = this.chains.before(token);
    }
    return holding;
  }

  /** Whether an endpoint holds any block of a span but one, which is looked at elsewhere. */
  holdsAnyBut(content: number, slot: number, except: number): boolean {
    let token = this.#rows.get(content, LAST_TOKEN);
    for (let left = this.tokenCount(content); left > 0; left--) {
      if (token !== except && this.#tokens.holding(token, slot) !== NOT_HELD) return true;
      token = this.chains.before(token);
    }
    return false;
  }

  #firstLink(content: number): number {
    return this.#table.payload(content) - SPANNED - 1;
  }

  #linked(content: number, token: number): void {
    this.#rows.set(content, LAST_TOKEN, token);
    this.#rows.set(content, TOKEN_COUNT, this.tokenCount(content) + 1);
    this.#rows.set(content, IS_RECENT, 1);
  }

  #unlinkAlternatives(content: number): void {
    for (let link = this.#firstLink(content); link !== NONE;) {
      const token = this.#alternatives.token(link);
      link = this.#alternatives.shift(link);
      this.chains.addContent(token, -1);
      this.#release(token);
    }
  }

  #unlinkSpan(content: number): void {
    let token = this.#rows.get(content, LAST_TOKEN);
    if (this.#table.payload(content) === SPANNED) this.#leaveRing(content, token);
    for (let left = this.tokenCount(content); left > 0; left--) {
      const before = this.chains.before(token);
      this.chains.leave(token, left === 1);
      this.#release(token);
      token = before;
    }
  }

  #leaveRing(content: number, token: number): void {
    const newer = this.#rows.get(content, NEWER);
    const older = this.#rows.get(content, OLDER);
    this.#rows.set(newer, OLDER, older);
    this.#rows.set(older, NEWER, newer);
    if (older === content) this.chains.setContent(token, NONE);
    else if (this.newestEnded(token) === content) this.chains.setContent(token, older);
    this.chains.addContent(token, -1);
  }

  /** A content block has let go of a token block. */
  #release(token: number): void {
    if (!this.isKnownToken(token)) this.#countHolders(token, -1);
    this.removeIfUnused(token);
  }

  /** A token block began to stand for content, or ceased to. */
  #countHolders(token: number, by: 1 | -1): void {
    const count = this.#tokens.readSlots(token, this.#slots);
    for (let i = 0; i < count; i++) this.#heldKnown[this.#slots[i]!]! += by;
  }
}
