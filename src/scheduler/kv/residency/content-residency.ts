// Which content blocks endpoints hold, from which token blocks they hold and which token blocks each
// content block became.
//
//   content   c1        c2        c3            learned: ends 3, 7, 7, i.e. how many token blocks are
//   tokens    t1 t2 t3  t4 t5 t6 t7             settled by content 1 to i
//
//   held(c2) = min(held(t4) … held(t7))         held(c3) = held(t7): it settles no further block
//   held(c)  = max(held(t1) of prompt 1, held(t1) of prompt 2 …)    where c settles none at all
//
// What a content block became can differ by prompt. Where two prompts agree on the tokens, the smaller end
// counts, as what follows decides the last; where they do not, because a template rendered history anew or
// put another date in, the newest counts, as the next request will be like it. Blocks that settle nothing
// stand at the start of every prompt that shares them, so they are held with any of these.
//
// Where hits end only with some of the blocks that an endpoint holds (hit-ends.ts), a second slot holds these
// token blocks, as if it was an endpoint. Any of a span will do: it is the same hit within one content block, and where
// content ends may be known a block too far. What the sink is told is about the first slot, by the keys of hit-end-keys.ts.
//
// Prompts that begin alike share token blocks, so content that begins within them is found through the block
// that it ends with: token-chains.ts.
//
// One per pool and engine block size. Bounded: content learned longest ago goes first, then token blocks
// that no content is known for; what is not known is not claimed.

import { NONE } from "../block-table.ts";
import { CONTENT_KEYS_MAX } from "../content-keys.ts";
import { ALTERNATIVES_COST_BYTES } from "./content-alternatives.ts";
import { ENDS_MARKED, hitEndHigh, hitEndLow } from "../hit-end-keys.ts";
import { HELD_ON_GPU, type Holding, type HoldingSink, NOT_HELD } from "./holding.ts";
import { CONTENT_COST_BYTES, LearnedContents, type TokenSpan } from "./learned-contents.ts";
import { SpanChanges, type TokenChange } from "./span-changes.ts";
import { CHAIN_COST_BYTES, SPAN_BLOCKS_MAX } from "./token-chains.ts";
import { TABLE_COST_BYTES, TOKEN_SLOTS_MAX, TokenHolders } from "./token-holders.ts";

export const CONTENT_RESIDENCY_LIMITS = {
  /** Endpoints, or data-parallel ranks of them. */
  slotsMax: TOKEN_SLOTS_MAX,
  /** All arrays: 970,000 token blocks, 280,000 content blocks, 188,000 alternatives, 983 forks. */
  bytesMax: 96 * 1024 * 1024,
} as const;

/** Shares of the bytes. */
const TOKENS_SHARE = 0.6;
const SETS_SHARE = 0.19;
const CONTENTS_SHARE = 0.14;
const ALTERNATIVES_SHARE = 0.03;
const FORKS_SHARE = 0.04;
/** Of a token block, without its holders. */
const TOKEN_COST_BYTES = TABLE_COST_BYTES + CHAIN_COST_BYTES + ALTERNATIVES_COST_BYTES;
/** Entries looked at for one to forget. */
const LOOK_MAX = 256;

/** What a prompt's content became. */
export interface LearnedPrompt {
  /** Two words a content block, as content-keys.ts makes them. */
  readonly contentKeys: Uint32Array;
  /** Two words a token block, as token-keys.ts makes them. */
  readonly tokenKeys: Uint32Array;
  /** By content block: token blocks that it and all before it settle. Never falls. */
  readonly ends: Uint32Array;
}

/** Since the beginning. */
export interface ContentResidencyCounts {
  /** Token blocks stored for which no content was known then: answers, and what was not learned yet. */
  unknownStores: number;
  /** Content blocks that became other tokens than they were known as. */
  relearned: number;
  /** Content blocks forgotten for the bytes. */
  forgottenContents: number;
  /** Token blocks forgotten for the bytes, with their holders. */
  forgottenTokens: number;
  /** Token or content blocks not taken up, because the bytes or a bound were used up. */
  leftOut: number;
}

export interface ContentResidencyOptions {
  readonly slotsMax?: number;
  readonly bytesMax?: number;
}

export class ContentResidency implements HoldingSink {
  readonly counts: ContentResidencyCounts = {
    unknownStores: 0,
    relearned: 0,
    forgottenContents: 0,
    forgottenTokens: 0,
    leftOut: 0,
  };
  readonly #sink: HoldingSink;
  readonly #tokens: TokenHolders;
  readonly #contents: LearnedContents;
  readonly #spanChanges: SpanChanges;
  #tokenHand = 0;
  #contentHand = 0;
  /** The content entry that is linked just now, which is not to be forgotten meanwhile. */
  #linking = NONE;
  /** By slot: how a content block was held, and is. */
  readonly #before: Uint8Array;
  readonly #after: Uint8Array;
  readonly #key = new Uint32Array(2);
  /** By slot that says where hits end: whose. */
  readonly #endingsOf: Uint16Array;

  /** The sink gets content keys. */
  constructor(sink: HoldingSink, options: ContentResidencyOptions = {}) {
    const { slotsMax = TOKEN_SLOTS_MAX, bytesMax = CONTENT_RESIDENCY_LIMITS.bytesMax } = options;
    const tokensMax = Math.floor((bytesMax * TOKENS_SHARE) / TOKEN_COST_BYTES);
    const entriesMax = Math.floor((bytesMax * CONTENTS_SHARE) / CONTENT_COST_BYTES);
    this.#sink = sink;
    this.#tokens = new TokenHolders(slotsMax, tokensMax, bytesMax * SETS_SHARE);
    this.#contents = new LearnedContents(this.#tokens, {
      entriesMax,
      alternativeBytesMax: bytesMax * ALTERNATIVES_SHARE,
      forkBytesMax: bytesMax * FORKS_SHARE,
    });
    this.#spanChanges = new SpanChanges(this.#tokens, this.#contents, (content, slot, holding) =>
      this.#tell(content, slot, holding),
    );
    this.#before = new Uint8Array(slotsMax);
    this.#after = new Uint8Array(slotsMax);
    this.#endingsOf = new Uint16Array(slotsMax);
  }

  /** `slot`, which holds nothing, says where hits of the endpoint at `of` end from now on; and nobody else's ends. */
  beginEndings(slot: number, of: number): void {
    this.#tokens.markEndings(slot, true);
    this.#endingsOf[slot] = of;
    this.#sink.held(of, ENDS_MARKED.low, ENDS_MARKED.high, HELD_ON_GPU);
  }

  /** The slot holds nothing any more. Hits of its endpoint end with any block that it holds. */
  endEndings(slot: number): void {
    this.#tokens.markEndings(slot, false);
    this.#sink.held(this.#endingsOf[slot]!, ENDS_MARKED.low, ENDS_MARKED.high, NOT_HELD);
  }

  /** Bytes of all arrays. */
  get byteLength(): number {
    return this.#tokens.byteLength + this.#contents.byteLength;
  }

  /** Content blocks that are known. */
  get contentBlocks(): number {
    return this.#contents.size;
  }

  /** Token blocks that are held somewhere, or that content is known for. */
  get tokenBlocks(): number {
    return this.#tokens.size;
  }

  /**
   * Token blocks that the endpoint at `slot` holds and that content is known for. Answers are none until a
   * prompt repeats them.
   */
  heldKnown(slot: number): number {
    return this.#contents.heldKnown(slot);
  }

  /** Token blocks that content up to and with this key's block settles; undefined where it is not known. */
  endOf(low: number, high: number): number | undefined {
    const content = this.#contents.find(low, high);
    return content === NONE ? undefined : this.#contents.end(content);
  }

  /** The endpoint at `slot` holds a token block so from now on. Tells what that means for content. */
  // Hot path: residency in bench/.
  held(slot: number, low: number, high: number, holding: Holding): void {
    if (slot >= this.#tokens.slotsMax) {
      this.counts.leftOut++;
      return;
    }
    let token = this.#tokens.find(low, high);
    if (token === NONE) {
      if (holding === NOT_HELD) return;
      token = this.#addToken(low, high, true);
      if (token === NONE) return;
    }
    const was = this.#tokens.holding(token, slot);
    const is = this.#tokens.setHolding(token, slot, holding);
    if (is !== holding) this.counts.leftOut++;
    const isKnown = this.#contents.isKnownToken(token);
    if (was !== is && isKnown) {
      if (was === NOT_HELD) this.#contents.heldChanged(token, slot, 1);
      else if (is === NOT_HELD) this.#contents.heldChanged(token, slot, -1);
      const change = { token, slot, was, is };
      if (this.#tokens.isEndings(slot)) this.#tellEnds(change, token, 0);
      else this.#spanChanges.tell(change);
      this.#tellBegun(change);
    } else if (!isKnown && is === NOT_HELD) this.#contents.removeIfUnused(token);
    else if (!isKnown && was === NOT_HELD) this.counts.unknownStores++;
  }

  /**
   * Content of whose span the changed block is one: whether a hit can end with any. `depth`: how far `token` is
   * behind the block.
   */
  #tellEnds(change: TokenChange, token: number, depth: number): void {
    const contents = this.#contents;
    const { chains } = contents;
    const { slot, is, token: changed } = change;
    let content = contents.newestEnded(token);
    for (; content !== NONE; content = contents.olderEnded(content)) {
      if (contents.tokenCount(content) <= depth) continue;
      if (!contents.holdsAnyBut(content, slot, changed)) this.#tell(content, slot, is);
    }
    let next = chains.firstBehind(token);
    for (; next !== NONE; next = chains.nextBeside(next)) {
      if (chains.reach(next) > depth) this.#tellEnds(change, next, depth + 1);
    }
  }

  /** Content that is held with any of its alternatives, of which the token block is one. */
  #tellBegun({ token, slot, was, is }: TokenChange): void {
    const contents = this.#contents;
    let link = contents.firstBegun(token);
    for (; link !== NONE; link = contents.nextBegun(link)) {
      const content = contents.contentOf(link);
      const others = contents.anyHolding(content, slot, token);
      const before = Math.max(was, others);
      const after = Math.max(is, others) as Holding;
      if (before !== after) this.#tell(content, slot, after);
    }
  }

  /**
   * Learns what a prompt's content became, and tells who holds it. What finds no room is left out: the content
   * behind it may be known, and it may find room the next time. O(blocks), amortised.
   */
  learn(prompt: LearnedPrompt): void {
    const { contentKeys, tokenKeys } = prompt;
    if (tokenKeys.length === 0) return;
    const ends = this.#agreedEnds(prompt);
    let from = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i]!;
      const span = { keys: tokenKeys, from: end === from ? Math.max(0, end - 1) : from, end };
      this.#learnBlock(contentKeys[i * 2]!, contentKeys[i * 2 + 1]!, span);
      from = end;
    }
  }

  /** The ends of a prompt, less what other prompts with the same content and tokens did not share. */
  #agreedEnds({ contentKeys, tokenKeys, ends }: LearnedPrompt): Uint32Array {
    const count = Math.min(contentKeys.length >>> 1, ends.length, CONTENT_KEYS_MAX);
    const agreed = ends.slice(0, count);
    let least = tokenKeys.length >>> 1;
    for (let i = count - 1; i >= 0; i--) {
      if (agreed[i]! < least) least = agreed[i]!;
      const content = this.#contents.find(contentKeys[i * 2]!, contentKeys[i * 2 + 1]!);
      if (content !== NONE) {
        const end = this.#contents.end(content);
        const last = Math.max(0, end - 1);
        if (end < least && this.#contents.isLastAt(content, tokenKeys, last)) least = end;
      }
      agreed[i] = least;
    }
    return agreed;
  }

  #learnBlock(low: number, high: number, span: TokenSpan): void {
    const contents = this.#contents;
    let content = contents.find(low, high);
    if (content === NONE) {
      if (contents.isFull) this.#forgetContent(false);
      content = contents.add(low, high);
      if (content === NONE) {
        this.counts.leftOut++;
        return;
      }
      this.#before.fill(0, 0, this.#tokens.slotsEnd);
    } else {
      contents.markRecent(content);
      if (contents.isKnownAs(content, span)) return;
      contents.readHoldings(content, this.#before);
      if (span.end === 0 && contents.hasAlternatives(content)) contents.trimAlternatives(content);
      else {
        this.counts.relearned++;
        contents.unlink(content);
      }
    }
    this.#linking = content;
    const isLinked = span.end === 0 ? this.#linkFirst(content, span) : this.#link(content, span);
    this.#linking = NONE;
    if (!isLinked) {
      this.counts.leftOut++;
      contents.unlink(content);
    }
    contents.readHoldings(content, this.#after);
    for (let slot = 0; slot < this.#tokens.slotsEnd; slot++) {
      const after = this.#after[slot] as Holding;
      if (after !== this.#before[slot]) this.#tell(content, slot, after);
    }
    if (!isLinked) contents.remove(content);
  }

  /** Links a span. Of a long one the last token blocks speak for all. */
  #link(content: number, { keys, from, end }: TokenSpan): boolean {
    let token: number = NONE;
    for (let i = Math.max(from, end - SPAN_BLOCKS_MAX); i < end; i++) {
      token = this.#findOrAdd(keys[i * 2]!, keys[i * 2 + 1]!);
      if (token === NONE) return false;
      if (!this.#contents.extendSpan(content, token)) {
        this.#contents.removeIfUnused(token);
        return false;
      }
    }
    this.#makeWay(token);
    this.#contents.endSpan(content, end);
    return true;
  }

  /** Links an alternative more. */
  #linkFirst(content: number, { keys }: TokenSpan): boolean {
    if (!this.#contents.hasRoom) this.#forgetContent(false);
    const token = this.#findOrAdd(keys[0]!, keys[1]!);
    if (token === NONE) return false;
    this.#makeWay(token);
    if (this.#contents.addAlternative(content, token)) return true;
    this.#contents.removeIfUnused(token);
    return false;
  }

  /** Makes room for content more at a token block: who shares the block with many is forgotten first. */
  #makeWay(token: number): void {
    const content = this.#contents.inTheWay(token);
    if (content !== NONE && content !== this.#linking) this.#forget(content);
  }

  #findOrAdd(low: number, high: number): number {
    const token = this.#tokens.find(low, high);
    return token === NONE ? this.#addToken(low, high, false) : token;
  }

  /** A block that no content is known for yet is not worth content that somebody holds. */
  #addToken(low: number, high: number, mustBeUnheld: boolean): number {
    if (this.#tokens.isFull) this.#forgetToken();
    if (this.#tokens.isFull) this.#forgetContent(mustBeUnheld);
    const token = this.#tokens.add(low, high);
    if (token === NONE) this.counts.leftOut++;
    return token;
  }

  #tell(content: number, slot: number, holding: Holding): void {
    this.#contents.readKey(content, this.#key);
    const low = this.#key[0]!;
    const high = this.#key[1]!;
    if (!this.#tokens.isEndings(slot)) return this.#sink.held(slot, low, high, holding);
    this.#sink.held(this.#endingsOf[slot]!, hitEndLow(low), hitEndHigh(high), holding);
  }

  /** Forgets one content block: one learned long ago, and held by nobody if one is near. */
  #forgetContent(mustBeUnheld: boolean): void {
    const contents = this.#contents;
    let chosen = NONE;
    for (let looked = 0; looked < LOOK_MAX; looked++) {
      const content = this.#contentHand;
      this.#contentHand = content + 1 < contents.idsEnd ? content + 1 : 0;
      if (!contents.isLinked(content) || content === this.#linking) continue;
      const isRecent = contents.takeRecent(content);
      if (chosen === NONE && !mustBeUnheld) chosen = content;
      if (isRecent || contents.isLastHeld(content)) continue;
      chosen = content;
      break;
    }
    if (chosen !== NONE) this.#forget(chosen);
  }

  #forget(content: number): void {
    const contents = this.#contents;
    this.counts.forgottenContents++;
    contents.readHoldings(content, this.#after);
    for (let slot = 0; slot < this.#tokens.slotsEnd; slot++) {
      if (this.#after[slot] !== NOT_HELD) this.#tell(content, slot, NOT_HELD);
    }
    contents.unlink(content);
    contents.remove(content);
  }

  /** Forgets one token block that no content is known for, if one is near. */
  #forgetToken(): void {
    for (let looked = 0; looked < LOOK_MAX; looked++) {
      const token = this.#tokenHand;
      this.#tokenHand = token + 1 < this.#tokens.idsEnd ? token + 1 : 0;
      if (!this.#tokens.isHeld(token) || this.#contents.isKnownToken(token)) continue;
      this.counts.forgottenTokens++;
      this.#tokens.release(token);
      this.#tokens.remove(token);
      return;
    }
  }
}
