// Which prompts' first token blocks a content block begins that settles none: links between the entries of
// two tables.
//
//   content entry ──► link ──► link ──► …            its token blocks, newest first
//                      │        │
//                      ▼        ▼
//                    token    token  ──► link ──► …   the content blocks that it is one of
//
// A link is four words: token entry, content entry, the token's next link, the content's next link.

import { NONE } from "../block-table.ts";
import { Rows } from "./rows.ts";
import { SlabPool } from "../slab-pool.ts";

const LINK_WORDS = 4;
const TOKEN = 0;
const CONTENT = 1;
const NEXT_OF_TOKEN = 2;
const NEXT_OF_CONTENT = 3;
/** By token entry: its first link + 1. */
const ROW_WORDS = 1;
/** Bytes a token block costs here, without its links. */
export const ALTERNATIVES_COST_BYTES = ROW_WORDS * 4;

export class ContentAlternatives {
  readonly #linkBytesMax: number;
  readonly #links = new SlabPool(LINK_WORDS);
  readonly #tokens = new Rows(ROW_WORDS);

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

  /** Puts a token block in front of a content block's. Gives the new first link. */
  push(first: number, token: number, content: number): number {
    const link = this.#links.take();
    const slab = this.#links.slab(link);
    const at = this.#links.offset(link);
    slab[at + TOKEN] = token;
    slab[at + CONTENT] = content;
    slab[at + NEXT_OF_TOKEN] = this.#tokens.get(token, 0);
    slab[at + NEXT_OF_CONTENT] = first + 1;
    this.#tokens.set(token, 0, link + 1);
    return link;
  }

  /** Frees the first link of a content block. Gives the next, or NONE. */
  shift(first: number): number {
    const next = this.next(first);
    this.#unlink(this.token(first), first);
    this.#links.free(first);
    return next;
  }

  /** The token block of a link. */
  token(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + TOKEN]!;
  }

  /** The content block's next link, or NONE. */
  next(link: number): number {
    return this.#links.slab(link)[this.#links.offset(link) + NEXT_OF_CONTENT]! - 1;
  }

  /** The first of the links to the content blocks that a token block is an alternative of, or NONE. */
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
  }
}
