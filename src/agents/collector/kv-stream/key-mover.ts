// Takes keys from the stream of one of a pool's objects to that of another, when the pool is spread otherwise.
//
//   idle ──begin──► copying ──all are where they belong──► waiting ──told, and a while──► dropping ──► idle
//                      ▲                                      │                              │
//                      └──────────────────── begin ───────────┴──────────────────────────────┘
//
// An object that a block belongs to now is told of it before the one that it belonged to hears that it is gone,
// and Workers that go by the map before find what they look for a while longer. What engines say meanwhile goes
// by the new map at once. A few keys at a time: nobody waits for it.
//
// A change while keys are copied does not begin anew: what has been walked is walked once more behind the rest, so
// every key is come to however often the map changes. An object is done when everything has been walked since it
// gained keys last, whatever others gain meanwhile.

import { EVERY_SHARD } from "../../../scheduler/shards/shard-of.ts";
import type { KvStream } from "./kv-stream.ts";

/** Keys looked at in one step; in a pool whose keys belong to all, each is looked for in every stream. */
export const MOVED_AT_ONCE = 8_192;
/** How long keys stay where they belonged, and how long at most, if an object is never told. */
export const MOVE_STAYS_MS = 10_000;
const MOVE_STAYS_MS_MAX = 60_000;

export interface KeyMoverOptions {
  /** By shard, those of objects that leave among them. */
  readonly streams: ReadonlyMap<number, KvStream>;
  /** The shard that a key belongs to, or EVERY_SHARD. */
  readonly shardOf: (low: number, high: number) => number;
}

/** What is still to be walked: one endpoint of one stream. */
interface Walk {
  readonly shard: number;
  readonly endpoint: string;
}

export class KeyMover {
  readonly #options: KeyMoverOptions;
  #phase: "idle" | "copying" | "waiting" | "dropping" = "idle";
  #count = 1;
  #copiedAtMs = 0;
  /** The next first: each endpoint of each stream at most once, and the first of them perhaps again. */
  #walks: Walk[] = [];
  /** In the first of #walks. */
  #at = 0;
  /** Walks that have come to their end, since the mover began. */
  #walked = 0;
  /** By shard that has gained keys: at how many walks it has got them all. */
  readonly #doneAt = new Map<number, number>();

  constructor(options: KeyMoverOptions) {
    this.#options = options;
  }

  /** All keys are where they belong, whether their objects have heard it or not. */
  get isCopied(): boolean {
    return this.#phase !== "copying";
  }

  /** The pool has so many objects, and keys belong elsewhere than before: these objects have gained some. */
  begin(count: number, gainers: ReadonlySet<number>): void {
    this.#count = count;
    if (this.#phase !== "copying") this.#walks = [];
    this.#phase = "copying";
    this.#walkAll();
    for (const shard of gainers) {
      this.#options.streams.get(shard)?.beginMove();
      this.#doneAt.set(shard, this.#walked + this.#walks.length);
    }
  }

  step(nowMs: number): void {
    switch (this.#phase) {
      case "idle":
        return;
      case "copying":
        if (!this.#walkOn(this.#copy)) return;
        this.#endMoves(Infinity);
        this.#copiedAtMs = nowMs;
        this.#phase = "waiting";
        return;
      case "waiting": {
        const waitedMs = nowMs - this.#copiedAtMs;
        const isTold = this.#counted().every((stream) => stream.hasToldMove);
        if (waitedMs < (isTold ? MOVE_STAYS_MS : MOVE_STAYS_MS_MAX)) return;
        this.#phase = "dropping";
        this.#walkAll();
        return;
      }
      case "dropping":
        if (this.#walkOn(this.#drop)) this.#phase = "idle";
    }
  }

  #counted(): KvStream[] {
    return [...this.#options.streams].flatMap(([shard, stream]) =>
      shard < this.#count ? [stream] : [],
    );
  }

  /** Everything is walked from now on, behind what is still to be. */
  #walkAll(): void {
    if (this.#walks.length === 0) this.#at = 0;
    const whole = this.#at === 0 ? this.#walks : this.#walks.slice(1);
    const known = new Set(whole.map(({ shard, endpoint }) => `${shard} ${endpoint}`));
    for (const [shard, { mirrors }] of this.#options.streams)
      for (const endpoint of mirrors.endpoints)
        if (!known.has(`${shard} ${endpoint}`)) this.#walks.push({ shard, endpoint });
  }

  /** Goes a step on. Whether it has come to the end. */
  #walkOn(each: (walk: Walk, low: number, high: number, ranks: number) => void): boolean {
    let left = MOVED_AT_ONCE;
    while (left > 0) {
      const walk = this.#walks[0];
      if (walk === undefined) return true;
      // One that is gone has no keys.
      const mirror = this.#options.streams.get(walk.shard)?.mirrors.get(walk.endpoint);
      const from = this.#at;
      const next = mirror?.visit(from, left, (low, high, ranks) => each(walk, low, high, ranks));
      if (next === undefined) this.#walkEnded();
      else this.#at = next;
      left -= Math.max(1, (next ?? mirror?.entriesEnd ?? 0) - from);
    }
    return this.#walks.length === 0;
  }

  #walkEnded(): void {
    this.#walks.shift();
    this.#at = 0;
    this.#walked += 1;
    this.#endMoves(this.#walked);
  }

  /** Of those that have all their keys after so many walks. */
  #endMoves(walked: number): void {
    for (const [shard, doneAt] of this.#doneAt) {
      if (doneAt > walked) continue;
      this.#doneAt.delete(shard);
      this.#options.streams.get(shard)?.endMove();
    }
  }

  readonly #copy = (from: Walk, low: number, high: number, ranks: number): void => {
    const { streams, shardOf } = this.#options;
    const shard = shardOf(low, high);
    if (shard === from.shard) return;
    if (shard !== EVERY_SHARD) {
      streams.get(shard)?.adopt(from.endpoint, low, high, ranks);
      return;
    }
    for (const [to, stream] of streams) {
      if (to !== from.shard && to < this.#count) stream.adopt(from.endpoint, low, high, ranks);
    }
  };

  readonly #drop = (from: Walk, low: number, high: number): void => {
    const { streams, shardOf } = this.#options;
    const shard = shardOf(low, high);
    if (shard === EVERY_SHARD || shard === from.shard || from.shard >= this.#count) return;
    streams.get(from.shard)?.mirrors.get(from.endpoint)?.drop(low, high);
  };
}
