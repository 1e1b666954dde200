// Where a hit can end in one source's cache, of a model with cache groups that need a part of a prefix only.
//
//   run(b)   of a group: blocks up to and with b that it holds without a gap, at most as many as it needs;
//            from a prompt's beginning on it needs no more
//   b ends a hit    where the groups that need all of it hold b, and every other group's run is complete:
//                   windows need ceil((window − 1) / block) blocks, states the last one
//   told of b       some block ends a hit, b or one up to REACH_TOKENS behind it
//
//   whole     s ─ s ─ s ─ a ─ a ─ a      all of it is held
//   window    ·   ·   ·    ·   ■   ■      of two blocks: a hit of this conversation ends with its last block, and
//                                        another one that begins with s has none
//
// Content ends anywhere in a run of tokens, and an engine counts on to the end of its own last block: a hit that
// ends a little behind content is one of that content. What parts from the prompt within that reach is then
// believed to hit, too; only where a window is just about to go is that wrong. A state serves no place but its own:
// where a group has states, an end speaks for no block before it.
//
// Source: vLLM vllm/v1/core/single_type_kv_cache_manager.py and kv_cache_coordinator.py, find_longest_cache_hit.
// Of blocks below the GPUs nothing is told by groups: they are taken to have all that they need.

import { NONE } from "../block-table.ts";
import { HELD_BELOW, HELD_ON_GPU, type Holding } from "./holding.ts";
import type { KvCacheGroup } from "./kv-event.ts";
import { Rows } from "./rows.ts";

export const HIT_ENDS_LIMITS = {
  /** Groups of a source that need a part of a prefix; what further ones hold is not looked at. */
  groupsMax: 8,
  /** Announcements of one block by one group. */
  countMax: 255,
  /** Blocks of a window: a longer one is complete with so many. */
  runMax: 4_096,
} as const;

/** Where all groups have windows: how far behind content a hit may end that is one of that content: one and a half average blocks of it. */
const REACH_TOKENS = 96;

/** Of groups that have states. */
export const STATES_KIND = "mamba";

/** At the beginning of a prompt, in the place of a block. */
export const PROMPT_START = -2;

/** Words of a row. Ids are kept + 1, so that zeros are none; the one before + 3, as the start is one, too. */
const BEFORE = 0;
const FIRST_BEHIND = 1;
const NEXT_BESIDE = 2;
const LAST_BESIDE = 3;
/** Twice the number of blocks within reach that end a hit; and 1 where it does itself. */
const ENDS = 4;
/** A word a group: announcements in the upper half, the run in the lower. */
const GROUPS = 5;
const BEFORE_OFFSET = 3;
const ONE_ENDS = 2;
const ONE_COUNT = 2 ** 16;
const RUN_MASK = ONE_COUNT - 1;
const ROW_WORDS = GROUPS + HIT_ENDS_LIMITS.groupsMax;
/** Bytes that a block costs here. */
export const HIT_END_COST_BYTES = ROW_WORDS * 4;

interface PartialGroup {
  readonly index: number;
  /** Blocks of a complete run. */
  readonly needed: number;
  /** It has states, and not windows. */
  readonly isOfStates: boolean;
}

export interface HitEndsOptions {
  /** Tokens, of all groups. */
  readonly blockSize: number;
  /** How the groups that need all blocks hold one. */
  readonly holding: (id: number) => Holding;
  /** A hit can end with a block from now on, or cannot any more. */
  readonly tell: (id: number, isEnd: boolean) => void;
}

/** Blocks needed before a hit's end; undefined of a kind that needs all of them, none, or nobody knows what. */
export function blocksNeeded(
  { kind, slidingWindow }: Pick<KvCacheGroup, "kind" | "slidingWindow">,
  blockSize: number,
): number | undefined {
  if (kind === STATES_KIND) return 1;
  if (kind !== "sliding_window" && kind !== "sliding_window_mla") return undefined;
  if (slidingWindow === null || slidingWindow < 1 || blockSize < 1) return undefined;
  const blocks = Math.ceil((slidingWindow - 1) / blockSize);
  return Math.min(Math.max(1, blocks), HIT_ENDS_LIMITS.runMax);
}

/** Ids are those of a BlockTable's entries. */
export class HitEnds {
  readonly blockSize: number;
  readonly #options: HitEndsOptions;
  readonly #rows = new Rows(ROW_WORDS);
  readonly #groups: PartialGroup[] = [];
  /** Blocks before one that ends a hit which are told of by it. */
  #reach: number;

  constructor(options: HitEndsOptions) {
    this.#options = options;
    this.blockSize = options.blockSize;
    this.#reach = Math.floor(REACH_TOKENS / options.blockSize);
  }

  get byteLength(): number {
    return this.#rows.byteLength;
  }

  /** The group's place; -1 where it is none of these. */
  placeOf(index: number): number {
    return this.#groups.findIndex((group) => group.index === index);
  }

  /** One group more, which holds nothing yet. -1 where there is no room. */
  addGroup(group: PartialGroup): number {
    if (this.#groups.length === HIT_ENDS_LIMITS.groupsMax) return -1;
    if (group.isOfStates && this.#reach > 0) {
      for (let id = 0; id < this.#rows.idsEnd; id++) this.#setEnd(id, false);
      this.#reach = 0;
    }
    this.#groups.push(group);
    for (let id = 0; id < this.#rows.idsEnd; id++) this.#judge(id);
    return this.#groups.length - 1;
  }

  /** A block is known to be behind another, or at PROMPT_START. */
  link(id: number, before: number): void {
    if (this.#rows.get(id, BEFORE) !== 0 || before === NONE) return;
    this.#rows.set(id, BEFORE, before + BEFORE_OFFSET);
    if (before >= 0) {
      const next = this.#rows.get(before, FIRST_BEHIND);
      this.#rows.set(id, NEXT_BESIDE, next);
      this.#rows.set(id, LAST_BESIDE, 0);
      if (next > 0) this.#rows.set(next - 1, LAST_BESIDE, id + 1);
      this.#rows.set(before, FIRST_BEHIND, id + 1);
      this.#tellBefore(id, before, 1);
    }
    this.#refresh(id);
  }

  /** A group announces a block once more, or takes that back. False where it is counted no further. */
  count(id: number, place: number, by: 1 | -1): boolean {
    const word = this.#rows.get(id, GROUPS + place);
    const count = Math.floor(word / ONE_COUNT);
    if (by > 0 ? count === HIT_ENDS_LIMITS.countMax : count === 0) return false;
    this.#rows.set(id, GROUPS + place, word + by * ONE_COUNT);
    if (count + by === 0 || count === 0) this.#refresh(id);
    return true;
  }

  /** The groups that need all blocks hold this one otherwise. */
  heldChanged(id: number): void {
    this.#judge(id);
  }

  /** The id is about to stand for another block. */
  forget(id: number): void {
    for (let next = this.#behind(id); next !== NONE; next = this.#behind(id)) this.#part(next, id);
    this.#zero(id);
    this.#judge(id);
    const before = this.#before(id);
    if (before >= 0) this.#part(id, before);
    this.#rows.set(id, BEFORE, 0);
  }

  /** Nothing is announced any more. What is behind what stays known. */
  clear(): void {
    for (let id = 0; id < this.#rows.idsEnd; id++) this.#zero(id);
    for (let id = 0; id < this.#rows.idsEnd; id++) this.#judge(id);
  }

  /** Whether `tell` was told of the block that a hit can end with it. */
  isTold(id: number): boolean {
    return this.#rows.get(id, ENDS) >= ONE_ENDS;
  }

  get idsEnd(): number {
    return this.#rows.idsEnd;
  }

  #before(id: number): number {
    return this.#rows.get(id, BEFORE) - BEFORE_OFFSET;
  }

  #behind(id: number): number {
    return this.#rows.get(id, FIRST_BEHIND) - 1;
  }

  #zero(id: number): void {
    for (let place = 0; place < this.#groups.length; place++) this.#rows.set(id, GROUPS + place, 0);
  }

  /** Brings the runs of a block up to date, and of those behind it as far as they change. */
  #refresh(first: number): void {
    const due = [first];
    for (let id = due.pop(); id !== undefined; id = due.pop()) {
      const isOther = this.#setRuns(id);
      this.#judge(id);
      if (!isOther) continue;
      for (let next = this.#behind(id); next !== NONE;) {
        due.push(next);
        next = this.#rows.get(next, NEXT_BESIDE) - 1;
      }
    }
  }

  /** Whether any is another than before. */
  #setRuns(id: number): boolean {
    const before = this.#before(id);
    let isOther = false;
    for (const [place, { needed }] of this.#groups.entries()) {
      const word = this.#rows.get(id, GROUPS + place);
      const run = word < ONE_COUNT ? 0 : Math.min(needed, this.#run(before, place) + 1);
      if (run === (word & RUN_MASK)) continue;
      isOther = true;
      this.#rows.set(id, GROUPS + place, word - (word & RUN_MASK) + run);
    }
    return isOther;
  }

  #run(id: number, place: number): number {
    if (id === PROMPT_START) return this.#groups[place]!.needed;
    return id < 0 ? 0 : this.#rows.get(id, GROUPS + place) & RUN_MASK;
  }

  #judge(id: number): void {
    const holding = this.#options.holding(id);
    let isEnd = holding !== 0;
    for (let place = 0; isEnd && holding === HELD_ON_GPU && place < this.#groups.length; place++) {
      isEnd = this.#run(id, place) === this.#groups[place]!.needed;
    }
    this.#setEnd(id, isEnd && (holding === HELD_ON_GPU || holding === HELD_BELOW));
  }

  #setEnd(id: number, isEnd: boolean): void {
    const word = this.#rows.get(id, ENDS);
    if (((word & 1) === 1) === isEnd) return;
    this.#rows.set(id, ENDS, isEnd ? word + 1 : word - 1);
    this.#tellUp(id, this.#reach, isEnd ? 1 : -1);
  }

  /** One block that ends a hit more or less, for a block and so many before it. */
  #tellUp(from: number, reach: number, by: 1 | -1): void {
    let id = from;
    for (let left = reach; left >= 0 && id >= 0; left--) {
      const word = this.#rows.get(id, ENDS) + by * ONE_ENDS;
      this.#rows.set(id, ENDS, word);
      if (by > 0 ? word < 2 * ONE_ENDS : word < ONE_ENDS) this.#options.tell(id, by > 0);
      id = this.#before(id);
    }
  }

  /** What ends hits at a block and behind it, as far as it reaches back: one more or less for those before it. */
  #tellBefore(id: number, before: number, by: 1 | -1, depth = 0): void {
    if (depth >= this.#reach) return;
    const isEnd = (this.#rows.get(id, ENDS) & 1) === 1;
    if (isEnd) this.#tellUp(before, this.#reach - depth - 1, by);
    for (let next = this.#behind(id); next !== NONE; next = this.#rows.get(next, NEXT_BESIDE) - 1) {
      this.#tellBefore(next, before, by, depth + 1);
    }
  }

  /** A block is not known to be behind another any more. */
  #part(id: number, before: number): void {
    this.#tellBefore(id, before, -1);
    const next = this.#rows.get(id, NEXT_BESIDE);
    const last = this.#rows.get(id, LAST_BESIDE);
    if (last === 0) this.#rows.set(before, FIRST_BEHIND, next);
    else this.#rows.set(last - 1, NEXT_BESIDE, next);
    if (next > 0) this.#rows.set(next - 1, LAST_BESIDE, last);
    this.#rows.set(id, BEFORE, 0);
    this.#rows.set(id, NEXT_BESIDE, 0);
    this.#rows.set(id, LAST_BESIDE, 0);
    this.#refresh(id);
  }
}
