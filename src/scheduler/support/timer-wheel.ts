// Deadlines of many things at once, kept in a hierarchical timer wheel.
//
//   level 0   64 slots of 16 ms        1 s      a slot is a ring of timers, linked through next/previous
//   level 1   64 slots of 1 s          65 s     when level 0 has gone round, the next slot of level 1
//   level 2   64 slots of 65 s         70 min   is dealt out over level 0, and so on upwards
//   level 3   64 slots of 70 min       3 days   what is further away goes round once more
//
// A timer fires at the first advance() at or after its deadline, at most a tick after it, and never
// before. Adding and removing is O(1); advancing is O(timers that fire or move down a level), however
// far the clock has jumped, and a timer moves down at most three times a round.
//
// Source: Varghese and Lauck, Hashed and hierarchical timing wheels, SOSP 1987.

import { assert } from "./assert.ts";

/** What a timer may be late by. */
export const TICK_MS = 16;
const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;
const LEVELS = 4;
/** Ticks that the wheel covers. */
const HORIZON_TICKS = SLOTS ** LEVELS;
/** Ring heads are nodes, too: node `level * SLOTS + slot` is a head, timers come after them. */
const HEADS = LEVELS * SLOTS;
const FREE = -1;
const TIMERS_FIRST = 64;

/** 20 bytes a timer, in arrays that double and never shrink; their owner bounds their number. */
export class TimerWheel {
  #next: Int32Array;
  #previous: Int32Array;
  /** Ticks at or after the deadline. */
  #dueTick: Float64Array;
  /** The ring that a timer is in. */
  #ring: Int16Array;
  readonly #ringSizes = new Int32Array(HEADS);
  readonly #levelSizes = new Int32Array(LEVELS);
  #freeHead = FREE;
  #used = HEADS;
  #size = 0;
  /** The last tick whose timers have fired. */
  #tick: number;

  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / TICK_MS);
    const capacity = HEADS + TIMERS_FIRST;
    this.#next = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
    this.#dueTick = new Float64Array(capacity);
    this.#ring = new Int16Array(capacity);
    for (let head = 0; head < HEADS; head++) this.#next[head] = this.#previous[head] = head;
  }

  /** Timers that have neither fired nor been removed. */
  get size(): number {
    return this.#size;
  }

  /** Returns the timer's number, which is its until it fires or is removed, and another's after. */
  add(deadlineMs: number): number {
    assert(Number.isFinite(deadlineMs), "a timer has a deadline");
    const timer = this.#take();
    // A deadline that has passed fires at the next advance that moves the clock a tick.
    const due = Math.max(this.#tick + 1, Math.ceil(deadlineMs / TICK_MS));
    this.#dueTick[timer] = due;
    this.#link(timer);
    this.#size += 1;
    return timer;
  }

  remove(timer: number): void {
    this.#unlink(timer);
    this.#release(timer);
  }

  /** Calls `fired` for each timer whose deadline is over. It may add and remove timers. */
  advance(nowMs: number, fired: (timer: number) => void): void {
    const until = Math.floor(nowMs / TICK_MS);
    while (this.#tick < until) {
      this.#tick = Math.min(until, this.#nextBusyTick());
      this.#cascade();
      this.#fire(this.#tick % SLOTS, fired);
    }
  }

  /** Unix ms before which no timer fires, so that its owner may sleep; Infinity without timers. */
  earliestMs(): number {
    return this.#nextBusyTick() * TICK_MS;
  }

  /** The next tick at which a timer fires or moves down; Infinity without timers. O(slots). */
  #nextBusyTick(): number {
    let next = Infinity;
    let span = 1;
    for (let level = 0; level < LEVELS; level++, span *= SLOTS) {
      if (this.#levelSizes[level] === 0) continue;
      const round = Math.floor(this.#tick / span);
      for (let turn = round + 1; turn <= round + SLOTS && turn * span < next; turn++) {
        if (this.#ringSizes[level * SLOTS + (turn % SLOTS)]! > 0) next = turn * span;
      }
    }
    return next;
  }

  /** At the end of a level's round the next slot of the level above is dealt out. */
  #cascade(): void {
    let span = 1;
    for (let level = 1; level < LEVELS; level++) {
      span *= SLOTS;
      if (this.#tick % span !== 0) return;
      this.#deal(level * SLOTS + (Math.floor(this.#tick / span) % SLOTS));
    }
  }

  #deal(ring: number): void {
    let left = this.#ringSizes[ring]!;
    while (left-- > 0) {
      const timer = this.#next[ring]!;
      this.#unlink(timer);
      this.#link(timer);
    }
  }

  #fire(ring: number, fired: (timer: number) => void): void {
    // What is added meanwhile is due later, and so lies in another ring.
    while (this.#ringSizes[ring]! > 0) {
      const timer = this.#next[ring]!;
      this.remove(timer);
      fired(timer);
    }
  }

  #link(timer: number): void {
    const ring = this.#ringFor(this.#dueTick[timer]!);
    const last = this.#previous[ring]!;
    this.#next[last] = timer;
    this.#previous[timer] = last;
    this.#next[timer] = ring;
    this.#previous[ring] = timer;
    this.#ring[timer] = ring;
    this.#ringSizes[ring]! += 1;
    this.#levelSizes[ring >> SLOT_BITS]! += 1;
  }

  #unlink(timer: number): void {
    const ring = this.#ring[timer]!;
    const next = this.#next[timer]!;
    const previous = this.#previous[timer]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#ringSizes[ring]! -= 1;
    this.#levelSizes[ring >> SLOT_BITS]! -= 1;
  }

  #ringFor(due: number): number {
    const tick = this.#tick;
    // A timer beyond the horizon waits in the last slot that comes round, and is dealt out again.
    const at = Math.min(due, tick + HORIZON_TICKS - HORIZON_TICKS / SLOTS);
    let level = 0;
    let span = 1;
    while (level < LEVELS - 1 && at - tick >= span * SLOTS) {
      level += 1;
      span *= SLOTS;
    }
    return level * SLOTS + (Math.floor(at / span) % SLOTS);
  }

  #take(): number {
    const free = this.#freeHead;
    if (free !== FREE) {
      this.#freeHead = this.#next[free]!;
      return free;
    }
    if (this.#used === this.#next.length) this.#grow();
    return this.#used++;
  }

  #release(timer: number): void {
    this.#next[timer] = this.#freeHead;
    this.#freeHead = timer;
    this.#size -= 1;
  }

  #grow(): void {
    const capacity = 2 * this.#next.length;
    const larger = <A extends Int32Array | Float64Array | Int16Array>(made: A, from: A): A => {
      made.set(from as never);
      return made;
    };
    this.#next = larger(new Int32Array(capacity), this.#next);
    this.#previous = larger(new Int32Array(capacity), this.#previous);
    this.#dueTick = larger(new Float64Array(capacity), this.#dueTick);
    this.#ring = larger(new Int16Array(capacity), this.#ring);
  }
}
