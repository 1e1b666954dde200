// The pairs that a digest has taken up lately, in their order: what a copy of it lacks is the end of this list.
//
//   since the build   0 ──────── first ─────────────── end        copies from `first` on can be told what they lack
//                     forgotten   └ ring of ADDED_PAIRS_MAX ┘

/** Words of 128 KiB: as much as a digest has itself, so that a longer list would not be sent. */
export const ADDED_PAIRS_MAX = 16_384;

export class AddedPairs {
  readonly #words: Uint32Array;
  readonly #pairsMax: number;
  #end = 0;

  constructor(pairsMax = ADDED_PAIRS_MAX) {
    this.#pairsMax = pairsMax;
    this.#words = new Uint32Array(pairsMax * 2);
  }

  /** Pairs since `clear`. */
  get end(): number {
    return this.#end;
  }

  add(low: number, high: number): void {
    const at = (this.#end % this.#pairsMax) * 2;
    this.#words[at] = low;
    this.#words[at + 1] = high;
    this.#end += 1;
  }

  clear(): void {
    this.#end = 0;
  }

  /** A copy of those from `count` on; undefined if some of them are forgotten, or never were. */
  since(count: number): Uint32Array | undefined {
    const first = Math.max(0, this.#end - this.#pairsMax);
    if (!Number.isSafeInteger(count) || count < first || count > this.#end) return undefined;
    const words = new Uint32Array((this.#end - count) * 2);
    const from = (count % this.#pairsMax) * 2;
    const head = this.#words.subarray(from, Math.min(this.#words.length, from + words.length));
    words.set(head);
    words.set(this.#words.subarray(0, words.length - head.length), head.length);
    return words;
  }
}
