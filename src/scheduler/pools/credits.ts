// What was sent to pools since they last told their load.
//
//   older │ 64 ms │ 64 ms │ … │ newest        own work in ms of the pool, one ring of buckets a pool
//
//   backlog = Σ over buckets: max(0, backlog − (1 − others) · 64 ms) + own work in the bucket
//   others  = their requests a second · work of one · surge
//   surge   = (own requests since the sample + PRIOR) / (as many as it usually sends + PRIOR)
//
// A pool works while it is sent work, so only what comes faster than it goes adds to the wait. An isolate
// sees its own requests alone, and is one of many that look at the same summary: whatever makes it send
// more than usual makes the others, too. So their usual traffic (what the pool ends in a second, less its
// own) counts as having grown by the same factor. With few requests of its own an isolate knows little of
// that factor: PRIOR keeps it near one.
//
// Source: Dynamo's assignments_since_sample, which knows one router's own only; water-filling with the
// others' share is ours (docs/decisions/042-choosing-a-pool.md).

const BUCKET_MS = 64;
const BUCKETS = 16;
/** Its own requests of so long tell what an isolate usually sends. */
const USUAL_MS = 10_000;
const PRIOR_REQUESTS = 4;
/** Share of the newest request in the mean work. */
const WORK_SHARE = 0.1;
/** Beyond it nobody is chosen for a shorter wait. */
const CREDIT_MS_MAX = 60_000;

export class Credits {
  readonly #buckets: Float64Array;
  /** Work of before the ring. */
  readonly #older: Float64Array;
  /** Number of the newest bucket, counted from the epoch. */
  readonly #newest: Float64Array;
  readonly #sampledAtMs: Float64Array;
  /** Requests of this isolate since the sample. */
  readonly #requests: Float64Array;
  /** Its requests of the last USUAL_MS, decayed to `#usualAtMs`. */
  readonly #usual: Float64Array;
  readonly #usualAtMs: Float64Array;
  readonly #usualSinceMs: Float64Array;
  readonly #meanWorkMs: Float64Array;

  constructor(slots: number) {
    this.#buckets = new Float64Array(slots * BUCKETS);
    this.#older = new Float64Array(slots);
    this.#newest = new Float64Array(slots);
    this.#sampledAtMs = new Float64Array(slots);
    this.#requests = new Float64Array(slots);
    this.#usual = new Float64Array(slots);
    this.#usualAtMs = new Float64Array(slots);
    this.#usualSinceMs = new Float64Array(slots);
    this.#meanWorkMs = new Float64Array(slots);
  }

  /** Requests that no summary has shown. */
  requests(slot: number): number {
    return this.#requests[slot]!;
  }

  /** A request was sent that keeps the whole pool busy for `workMs`. */
  add(slot: number, workMs: number, nowMs: number): void {
    this.#advance(slot, Math.floor(nowMs / BUCKET_MS));
    this.#buckets[this.#at(slot, this.#newest[slot]!)]! += workMs;
    this.#requests[slot]! += 1;
    if (this.#usual[slot] === 0) this.#usualSinceMs[slot] = nowMs;
    this.#usual[slot] = this.#usual[slot]! * this.#decay(slot, nowMs) + 1;
    this.#usualAtMs[slot] = nowMs;
    const mean = this.#meanWorkMs[slot]!;
    this.#meanWorkMs[slot] = mean === 0 ? workMs : mean + WORK_SHARE * (workMs - mean);
  }

  /** The pool has told its load as of `atMs`: what had reached it by then is in there. */
  sampled(slot: number, atMs: number): void {
    if (atMs <= this.#sampledAtMs[slot]!) return;
    this.#sampledAtMs[slot] = atMs;
    const firstKept = Math.floor(atMs / BUCKET_MS);
    const newest = this.#newest[slot]!;
    this.#older[slot] = 0;
    let isAnyKept = false;
    for (let bucket = newest - BUCKETS + 1; bucket <= newest; bucket++) {
      const at = this.#at(slot, bucket);
      if (bucket < firstKept) this.#buckets[at] = 0;
      else isAnyKept ||= this.#buckets[at]! > 0;
    }
    // Requests are not counted by bucket: those that are kept are few, and count as one.
    this.#requests[slot] = isAnyKept ? 1 : 0;
  }

  /** What it adds to the wait. `endedPerSecond` are the requests that the pool ends, whoever sent them. */
  waitMs(slot: number, endedPerSecond: number, nowMs: number): number {
    const newest = this.#newest[slot]!;
    const sampledAtMs = this.#sampledAtMs[slot]!;
    if (newest === 0) return 0;
    const drain = 1 - this.#others(slot, endedPerSecond, nowMs);
    const first = Math.max(newest - BUCKETS + 1, Math.floor(sampledAtMs / BUCKET_MS));
    let backlog = this.#older[slot]!;
    for (let bucket = first; bucket <= newest; bucket++) {
      const work = this.#buckets[this.#at(slot, bucket)]!;
      backlog = Math.max(0, backlog - drain * BUCKET_MS) + work;
    }
    const sinceMs = Math.max(0, nowMs - (newest + 1) * BUCKET_MS);
    // A surge is as old as the requests that show it.
    backlog -= (drain < 0 ? 0 : drain) * sinceMs;
    return Math.min(CREDIT_MS_MAX, Math.max(0, backlog));
  }

  /** The slot is another pool's now. */
  clear(slot: number): void {
    this.#buckets.fill(0, slot * BUCKETS, (slot + 1) * BUCKETS);
    for (const column of [this.#older, this.#newest, this.#requests, this.#usual]) column[slot] = 0;
    for (const column of [this.#usualAtMs, this.#sampledAtMs, this.#meanWorkMs]) column[slot] = 0;
  }

  /** Share of the pool's time that the others' requests take. */
  #others(slot: number, endedPerSecond: number, nowMs: number): number {
    const usualMs = Math.min(USUAL_MS, Math.max(1_000, nowMs - this.#usualSinceMs[slot]!));
    const ownPerSecond = (1_000 * this.#usual[slot]! * this.#decay(slot, nowMs)) / usualMs;
    const othersPerSecond = endedPerSecond - ownPerSecond;
    if (othersPerSecond <= 0) return 0;
    const sinceMs = Math.min(USUAL_MS, Math.max(0, nowMs - this.#sampledAtMs[slot]!));
    const expected = (ownPerSecond * sinceMs) / 1_000;
    const surge = (this.#requests[slot]! + PRIOR_REQUESTS) / (expected + PRIOR_REQUESTS);
    return (othersPerSecond / 1_000) * this.#meanWorkMs[slot]! * surge;
  }

  #decay(slot: number, nowMs: number): number {
    return Math.exp(-Math.max(0, nowMs - this.#usualAtMs[slot]!) / USUAL_MS);
  }

  /** Makes `bucket` the newest. A clock that went back counts into the newest there is. */
  #advance(slot: number, bucket: number): void {
    const newest = this.#newest[slot]!;
    if (bucket <= newest) return;
    for (let next = Math.max(newest + 1, bucket - BUCKETS + 1); next <= bucket; next++) {
      const at = this.#at(slot, next);
      this.#older[slot]! += this.#buckets[at]!;
      this.#buckets[at] = 0;
    }
    this.#newest[slot] = bucket;
  }

  #at(slot: number, bucket: number): number {
    return slot * BUCKETS + (((bucket % BUCKETS) + BUCKETS) % BUCKETS);
  }
}
