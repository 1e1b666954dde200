// Dispatches that no sample of the engine has shown yet.
//
//   older │ 64 ms │ 64 ms │ … │ newest       one row of buckets an endpoint, as a ring
//         └─ cleared ─┘ ▲ sample's time − travel
//
// A sample was taken some time before it arrives, and a request needs some time to reach the engine.
// A sample therefore clears the buckets that end before its own time less DISPATCH_TRAVEL_MS; what
// is newer stays counted. One bucket too many is kept rather than one too few: an endpoint may look
// busier than it is for a moment, never idler.
//
// What is older than the ring is one number, cleared by any sample: samples that are late by more
// than the ring covers must not let it grow.

/** From a decision until the engine counts the request: the Worker's and the relay's part. */
export const DISPATCH_TRAVEL_MS = 100;
const BUCKET_MS = 64;
const BUCKETS = 32;
/** How far back dispatches are told apart by time. */
export const DISPATCH_WINDOW_MS = BUCKET_MS * BUCKETS;

/** Counts of `slots` endpoints. 64 bytes a slot for the ring; nothing is allocated later. */
export class RecentDispatches {
  readonly #buckets: Uint16Array;
  readonly #older: Int32Array;
  readonly #total: Int32Array;
  /** Number of the newest bucket, counted from the epoch. */
  readonly #newest: Float64Array;
  /** Number of the first bucket that the last sample has not shown. */
  readonly #shownBefore: Float64Array;

  constructor(slots: number) {
    this.#buckets = new Uint16Array(slots * BUCKETS);
    this.#older = new Int32Array(slots);
    this.#total = new Int32Array(slots);
    this.#newest = new Float64Array(slots);
    this.#shownBefore = new Float64Array(slots);
  }

  /** Dispatches that no sample has shown. */
  count(slot: number): number {
    return this.#total[slot]!;
  }

  add(slot: number, nowMs: number): void {
    this.#advance(slot, Math.floor(nowMs / BUCKET_MS));
    const at = this.#at(slot, this.#newest[slot]!);
    if (this.#buckets[at] === 0xffff) this.#older[slot]! += 1;
    else this.#buckets[at]! += 1;
    this.#total[slot]! += 1;
  }

  /**
   * Counts one that was made at `atMs`, before now, and was not told then. False, and not counted, if a
   * sample has shown it already.
   */
  addLate(slot: number, atMs: number): boolean {
    const bucket = Math.floor(atMs / BUCKET_MS);
    if (bucket < this.#shownBefore[slot]!) return false;
    this.#advance(slot, bucket);
    const isOlder = bucket <= this.#newest[slot]! - BUCKETS;
    const at = this.#at(slot, bucket);
    if (isOlder || this.#buckets[at] === 0xffff) this.#older[slot]! += 1;
    else this.#buckets[at]! += 1;
    this.#total[slot]! += 1;
    return true;
  }

  /** What was added at `atMs` has ended. Nothing to do if a sample has shown it since. */
  remove(slot: number, atMs: number): void {
    const newest = this.#newest[slot]!;
    const bucket = Math.min(newest, Math.floor(atMs / BUCKET_MS));
    if (bucket > newest - BUCKETS) {
      const at = this.#at(slot, bucket);
      if (this.#buckets[at] === 0) return;
      this.#buckets[at]! -= 1;
    } else {
      if (this.#older[slot] === 0) return;
      this.#older[slot]! -= 1;
    }
    this.#total[slot]! -= 1;
  }

  /** A sample taken at `sampledAtMs` shows everything that had reached the engine by then. */
  sampled(slot: number, sampledAtMs: number): void {
    const firstKept = Math.floor((sampledAtMs - DISPATCH_TRAVEL_MS) / BUCKET_MS);
    this.#shownBefore[slot] = firstKept;
    const newest = this.#newest[slot]!;
    this.#total[slot]! -= this.#older[slot]!;
    this.#older[slot] = 0;
    for (let bucket = newest - BUCKETS + 1; bucket <= newest && bucket < firstKept; bucket++) {
      const at = this.#at(slot, bucket);
      this.#total[slot]! -= this.#buckets[at]!;
      this.#buckets[at] = 0;
    }
  }

  /** Nothing is counted: the slot is another endpoint's now. */
  clear(slot: number): void {
    this.#buckets.fill(0, slot * BUCKETS, (slot + 1) * BUCKETS);
    this.#older[slot] = 0;
    this.#total[slot] = 0;
    this.#newest[slot] = 0;
    this.#shownBefore[slot] = 0;
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
    // Buckets before the epoch do not happen, but their remainder would be negative.
    return slot * BUCKETS + (((bucket % BUCKETS) + BUCKETS) % BUCKETS);
  }
}
