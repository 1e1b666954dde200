// Steps in which a batch only decodes, at a cost that does not grow with the batch.
//
// While nobody joins or leaves, every sequence gets one token a step: what each has computed is what
// it had when the run began, plus the steps done since. Only who begins or fills a block needs a
// look, and who that is repeats every `blockSize` steps:
//
//   remainder of computed / blockSize    0        1 … size-2      size-1
//   in the step that computes one more   begins                   fills
//
// Counts of the sequences are left behind until `settle`.

import { assert } from "../../../scheduler/support/assert.ts";
import type { BlockKey } from "./kv-cache.ts";
import type { Sequence } from "./sequence.ts";

export class DecodeRun<Hash extends BlockKey> {
  readonly #sequences: readonly Sequence<Hash>[];
  readonly #blockSize: number;
  /** By number of the step modulo the block size: indexes of sequences that are due, ascending. */
  readonly #due: (number[] | undefined)[];
  /** By index: `computedCount` and `generatedCount` before the first step. */
  readonly #computed: readonly number[];
  readonly #generated: readonly number[];
  readonly #contextTokens: number;
  /** Steps until a sequence has its last token. */
  readonly #stepsMax: number;
  #stepsDone = 0;
  #lastAtMs = 0;

  /** Begins with a step for which every sequence has its blocks. All are decoding. */
  constructor(sequences: readonly Sequence<Hash>[], blockSize: number) {
    this.#sequences = sequences.slice();
    this.#blockSize = blockSize;
    this.#computed = sequences.map(({ computedCount }) => computedCount);
    this.#generated = sequences.map(({ generatedCount }) => generatedCount);
    this.#due = Array.from({ length: blockSize });
    let contextTokens = 0;
    let stepsMax = Infinity;
    for (let i = 0; i < sequences.length; i++) {
      const { computedCount, knownCount, outputCount, generatedCount } = sequences[i]!;
      this.#add(blockSize - (computedCount % blockSize), i);
      this.#add(blockSize - 1 - (computedCount % blockSize), i);
      contextTokens += knownCount;
      stepsMax = Math.min(stepsMax, outputCount - generatedCount);
    }
    this.#contextTokens = contextTokens;
    this.#stepsMax = stepsMax;
  }

  /** Sequences in the batch. */
  get size(): number {
    return this.#sequences.length;
  }

  /** Tokens of all contexts in the present step. */
  get contextTokens(): number {
    return this.#contextTokens + this.size * this.#stepsDone;
  }

  /**
   * Ends the present step, unless some sequence finishes with it: then nothing is done and false is
   * given.
   */
  endStep(atMs: number): boolean {
    if (this.#stepsDone + 1 >= this.#stepsMax) return false;
    this.#stepsDone++;
    this.#lastAtMs = atMs;
    return true;
  }

  /** The sequences that begin or fill a block in the present step, their counts up to date. */
  *due(): Generator<Sequence<Hash>> {
    for (const index of this.#due[this.#stepsDone % this.#blockSize] ?? []) {
      this.#settle(index);
      yield this.#sequences[index]!;
    }
  }

  /** Brings the counts of all sequences up to date. */
  settle(): void {
    for (let i = 0; i < this.#sequences.length; i++) this.#settle(i);
  }

  #settle(index: number): void {
    const sequence = this.#sequences[index]!;
    sequence.computedCount = this.#computed[index]! + this.#stepsDone;
    sequence.generatedCount = this.#generated[index]! + this.#stepsDone;
    if (this.#stepsDone > 0) sequence.lastTokenAtMs = this.#lastAtMs;
    assert(sequence.knownCount === sequence.computedCount + 1, "a sequence of a run decodes");
  }

  #add(step: number, index: number): void {
    const due = (this.#due[step % this.#blockSize] ??= []);
    // With blocks of one token a sequence begins and fills one in each step.
    if (due.at(-1) !== index) due.push(index);
  }
}
