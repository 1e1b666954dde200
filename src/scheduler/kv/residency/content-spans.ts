// Which token blocks each content block became: links between the entries of two tables.
//
//   content entry ──► link ──► link ──► …            the token blocks of its span, last first
//                      │        │
//                      ▼        ▼
//                    token    token  ──► link ──► …   the content blocks whose span it is in
//
// A link is four words: token entry, content entry, the token's next link, the content's next link.

import { NONE } from "../block-table.ts";
import { Rows } from "./rows.ts";
import { SlabPool } from "../slab-pool.ts";

/** Content blocks that one token block stands for at most. Usual is one; further ones are refused. */
export const CONTENTS_PER_TOKEN_BLOCK_MAX = 4_096;
/** Token blocks of one content block at most: 256 bytes are as many tokens, in blocks of one. */
export const SPAN_BLOCKS_MAX = 512;

const LINK_WORDS = 4;
const TOKEN = 0;
const CONTENT = 1;
const NEXT_OF_TOKEN = 2;
const NEXT_OF_CONTENT = 3;

export class ContentSpans {
  readonly #linkBytesMax: number;
  readonly #links = new SlabPool(LINK_WORDS);
  /** By token entry: its first link + 1, and how many it has. */
  readonly #tokens = new Rows(2);

  constructor(linkBytesMax: number) {
    this.#linkBytesMax = linkBytesMax;
  }

  get byteLength(): number {
    return this.#links.byteLength + this.#tokens.byteLength;
  }

  /** Whether `push` stays within the byte bound. */
  get hasRoom(): boolean {
    const { hasFree, byteLength, slabBytes } = this.#links;
    return hasFree || byteLength + slabBytes <= this.#linkBytesMax;
  }

  /** How many content blocks a token block stands for. */
  contentCount(token: number): number {
    return this.#tokens.get(token, 1);
  }

  /** Puts a token block in front of a span. Gives the span's new first link. */
  push(span: number, token: number, content: number): number {
    const link = this.#links.take();
    const slab = this.#links.slab(link);
    const at = this.#links.offset(link);
    slab[at + TOKEN] = token;
    slab[at + CONTENT] = content;
    slab[at + NEXT_OF_TOKEN] = this.#tokens.get(token, 0);
    slab[at + NEXT_OF_CONTENT] = span + 1;
    this.#tokens.set(token, 0, link + 1);
    this.#tokens.set(token, 1, this.contentCount(token) + 1);
    return link;
  }

  /** Frees the first link of a span. Gives the next, or NONE. */
  shift(span: number): number {
    const next = this.next(span);
    this.#unlink(this.token(span), span);
    this.#links.free(span);
    return next;
  }

  /** The token block of a link. */
  token(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + TOKEN]!;
  }

  /** The next link of a span, or NONE. */
  next(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + NEXT_OF_CONTENT]! - 1;
  }

  /** The first of the links to the content blocks that a token block stands for, or NONE. */
  firstContent(token: number): number {
    return this.#tokens.get(token, 0) - 1;
  }

  nextContent(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + NEXT_OF_TOKEN]! - 1;
  }

  content(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + CONTENT]!;
  }

  #unlink(token: number, link: number): void {
    const next = this.nextContent(link);
    let before = NONE;
    for (let at = this.firstContent(token); at !== link; at = this.nextContent(at)) before = at;
    if (before === NONE) this.#tokens.set(token, 0, next + 1);
    else this.#links.slab(before)[this.#links.offset(before) + NEXT_OF_TOKEN] = next + 1;
    this.#tokens.set(token, 1, this.contentCount(token) - 1);
  }
}
