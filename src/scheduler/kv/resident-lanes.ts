// The lanes of a ResidentIndex: each one account of one endpoint, and whether it answers.
//
//   open ──► building ──answer──► answering ──close──► dead ──sweep──► free
//
//   planes   two bits a lane: 2 × lane, what it holds on GPUs; 2 × lane + 1, what it holds below
//
// When a lane is closed its holders are still in the sets. Its number is given to nobody until a sweep over all
// entries has begun after that and ended; one that was empty is free at once.

import { NO_PAIR_SLOT } from "./pair-table.ts";
import { assert } from "../support/assert.ts";

/** No lane: all are taken. */
export const NO_LANE = -1;
const FREE = 0;
const OPEN = 1;
const DEAD = 2;

export class ResidentLanes {
  /** The endpoint's, by lane. */
  readonly slots: Int32Array;
  /** Bit planes: the GPU places of lanes that answer; both places of lanes that are being swept. */
  readonly answering: Uint32Array;
  readonly swept: Uint32Array;
  readonly #states: Uint8Array;
  #end = 0;

  /** `planeWords`: of a bit plane with all lanes. */
  constructor(lanesMax: number, planeWords: number) {
    this.slots = new Int32Array(lanesMax);
    this.answering = new Uint32Array(planeWords);
    this.swept = new Uint32Array(planeWords);
    this.#states = new Uint8Array(lanesMax);
  }

  /** Behind the highest that was ever open. */
  get end(): number {
    return this.#end;
  }

  /** Words of a bit plane that may have any of them. */
  get words(): number {
    return (this.#end * 2 + 31) >>> 5;
  }

  isOpen(lane: number): boolean {
    return this.#states[lane] === OPEN;
  }

  answers(lane: number): boolean {
    return (this.answering[lane >>> 4]! & (1 << ((lane & 15) * 2))) !== 0;
  }

  /** The slot that a place of a holder set stands for; NO_PAIR_SLOT where its lane is dead. */
  pairSlotOf(place: number): number {
    const lane = place >>> 1;
    return this.#states[lane] === OPEN ? this.slots[lane]! : NO_PAIR_SLOT;
  }

  /** One for `slot`, or NO_LANE. */
  open(slot: number): number {
    // The lowest: planes are looked at up to the highest that was ever used.
    const lane = this.#states.indexOf(FREE);
    if (lane < 0) return NO_LANE;
    this.#states[lane] = OPEN;
    this.slots[lane] = slot;
    if (lane >= this.#end) this.#end = lane + 1;
    return lane;
  }

  /** It answers for its slot. No other may: the caller closes it before. */
  answer(lane: number): void {
    assert(this.isOpen(lane), "a lane that is not open");
    this.answering[lane >>> 4]! |= 1 << ((lane & 15) * 2);
  }

  /** It answers no more. */
  close(lane: number, isEmpty: boolean): void {
    assert(this.isOpen(lane), "a lane that is not open");
    this.answering[lane >>> 4]! &= ~(1 << ((lane & 15) * 2));
    this.#states[lane] = isEmpty ? FREE : DEAD;
  }

  /** Marks all dead lanes as being swept. False where there are none. */
  beginSweep(): boolean {
    let isAny = false;
    for (let lane = 0; lane < this.#end; lane++) {
      if (this.#states[lane] !== DEAD) continue;
      this.swept[lane >>> 4]! |= 3 << ((lane & 15) * 2);
      isAny = true;
    }
    return isAny;
  }

  /** No set has holders of those that were swept. True where others have died meanwhile. */
  endSweep(): boolean {
    for (let lane = 0; lane < this.#end; lane++) {
      if (((this.swept[lane >>> 4]! >>> ((lane & 15) * 2)) & 1) === 1) this.#states[lane] = FREE;
    }
    this.swept.fill(0);
    return this.#states.includes(DEAD);
  }
}
