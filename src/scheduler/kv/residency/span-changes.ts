// Which content an endpoint holds otherwise now, when it holds one token block otherwise.
//
//   before ◄── the block ──► those behind it that the endpoint holds ──► content that ends there
//
// Content needs the block if its span reaches from where it ends back to the block, and is held as the worst
// of its span is. Walks no farther than spans reach, and only along what the endpoint holds.

import { NONE } from "../block-table.ts";
import { HELD_ON_GPU, type Holding, NOT_HELD } from "./holding.ts";
import type { LearnedContents } from "./learned-contents.ts";
import { SPAN_BLOCKS_MAX } from "./token-chains.ts";
import type { TokenHolders } from "./token-holders.ts";

export interface TokenChange {
  readonly token: number;
  readonly slot: number;
  readonly was: Holding;
  readonly is: Holding;
}

type Tell = (content: number, slot: number, holding: Holding) => void;

export class SpanChanges {
  readonly #tokens: TokenHolders;
  readonly #contents: LearnedContents;
  readonly #tell: Tell;
  #slot = 0;
  #was: Holding = NOT_HELD;
  #is: Holding = NOT_HELD;
  /** By how many blocks before the token block: the worst of these, as far as it was looked up. */
  readonly #before = new Uint8Array(SPAN_BLOCKS_MAX);
  #beforeEnd = 0;
  /** The block looked up last. */
  #farthest = NONE;

  constructor(tokens: TokenHolders, contents: LearnedContents, tell: Tell) {
    this.#tokens = tokens;
    this.#contents = contents;
    this.#tell = tell;
  }

  // Hot path: residency in bench/.
  tell({ token, slot, was, is }: TokenChange): void {
    const { chains } = this.#contents;
    const before = chains.before(token);
    // What is behind a block that is not there was not held, and is not.
    if (
      before !== NONE &&
      chains.isNeverFirst(token) &&
      this.#tokens.holding(before, slot) === NOT_HELD
    ) {
      return;
    }
    this.#slot = slot;
    this.#was = was;
    this.#is = is;
    this.#before[0] = HELD_ON_GPU;
    this.#beforeEnd = 1;
    this.#farthest = token;
    this.#tellFrom(token, 0, HELD_ON_GPU);
  }

  /** `depth`: how far `token` is behind the one that changed; `between`: the worst of those behind it up to here. */
  #tellFrom(token: number, depth: number, between: Holding): void {
    const contents = this.#contents;
    const { chains } = contents;
    let content = contents.newestEnded(token);
    for (; content !== NONE; content = contents.olderEnded(content)) {
      const reach = contents.tokenCount(content) - 1 - depth;
      if (reach >= 0) this.#tellContent(content, reach, between);
    }
    let next = chains.firstBehind(token);
    let left = next === NONE ? 0 : chains.heldBehind(token, this.#slot);
    for (; next !== NONE && left > 0; next = chains.nextBeside(next)) {
      const holding = this.#tokens.holding(next, this.#slot);
      if (holding === NOT_HELD) continue;
      left--;
      if (chains.reach(next) <= depth) continue;
      this.#tellFrom(next, depth + 1, holding < between ? holding : between);
    }
  }

  #tellContent(content: number, reach: number, between: Holding): void {
    const others = Math.min(between, this.#worstBefore(reach)) as Holding;
    const was = Math.min(this.#was, others) as Holding;
    const is = Math.min(this.#is, others) as Holding;
    if (was !== is) this.#tell(content, this.#slot, is);
  }

  /** How the endpoint holds so many blocks before the one that changed. */
  #worstBefore(reach: number): Holding {
    while (this.#beforeEnd <= reach) {
      const worst = this.#before[this.#beforeEnd - 1]!;
      if (worst === NOT_HELD) return NOT_HELD;
      this.#farthest = this.#contents.chains.before(this.#farthest);
      const holding = this.#tokens.holding(this.#farthest, this.#slot);
      this.#before[this.#beforeEnd++] = Math.min(worst, holding);
    }
    return this.#before[reach] as Holding;
  }
}
