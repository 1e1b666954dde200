// A sequence of token ids, whose blocks are named as llm-d and vLLM name them.

import { blockHash, type BlockHash } from "./block-hash.ts";
import type { SequenceContent } from "./sequence.ts";

export interface SequenceRequest {
  /** At least one. */
  readonly promptTokenIds: Uint32Array;
  /** The answer. At least one. */
  readonly outputTokenIds: Uint32Array;
  /** Keeps the blocks of those who do not know it apart. */
  readonly cacheSalt?: string;
}

export class TokenContent implements SequenceContent {
  readonly promptCount: number;
  readonly outputCount: number;
  readonly #root: BlockHash;
  readonly #blockSize: number;
  readonly #tokenIds: Uint32Array;
  readonly #cacheSalt: string | undefined;
  readonly #hashes: BlockHash[] = [];

  /** `root`: see rootHash. */
  constructor(request: SequenceRequest, root: BlockHash, blockSize: number) {
    this.promptCount = request.promptTokenIds.length;
    this.outputCount = request.outputTokenIds.length;
    this.#root = root;
    this.#blockSize = blockSize;
    this.#cacheSalt = request.cacheSalt;
    this.#tokenIds = new Uint32Array(this.promptCount + this.outputCount);
    this.#tokenIds.set(request.promptTokenIds);
    this.#tokenIds.set(request.outputTokenIds, this.promptCount);
  }

  /** Each is computed once. */
  hashes(count: number): readonly BlockHash[] {
    const size = this.#blockSize;
    while (this.#hashes.length < count) {
      const i = this.#hashes.length;
      const tokenIds = this.#tokenIds.subarray(i * size, (i + 1) * size);
      const extras = i === 0 && this.#cacheSalt !== undefined ? [this.#cacheSalt] : [];
      this.#hashes.push(blockHash(this.#hashes[i - 1] ?? this.#root, tokenIds, extras));
    }
    return this.#hashes;
  }
}
