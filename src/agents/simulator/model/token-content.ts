// A sequence of token ids, whose blocks are named as llm-d and vLLM name them.

import type { BlockExtra, BlockHash, BlockHasher } from "./block-hash.ts";
import type { PromptItem } from "./prompt.ts";
import type { SequenceContent } from "./sequence.ts";

/** What of a sequence is done elsewhere: SequenceContent says what each means. */
export type HandOffContent = Pick<SequenceContent, "isHeld" | "isRemote" | "cacheHitThreshold">;

export interface SequenceRequest extends HandOffContent {
  /** At least one. */
  readonly promptTokenIds: Uint32Array;
  /** The answer. At least one. */
  readonly outputTokenIds: Uint32Array;
  /** Keeps the blocks of those who do not know it apart. */
  readonly cacheSalt?: string;
  /** The adapter that computes the blocks; none: the base model. */
  readonly lora?: string;
  /** Pictures and the like, in the order of the prompt. */
  readonly items?: readonly PromptItem[];
}

export class TokenContent implements SequenceContent {
  readonly promptCount: number;
  readonly outputCount: number;
  readonly isHeld: boolean;
  readonly isRemote: boolean;
  readonly cacheHitThreshold?: number;
  readonly lora: string | undefined;
  readonly cacheSalt: string | undefined;
  readonly #hasher: BlockHasher;
  readonly #blockSize: number;
  readonly #tokenIds: Uint32Array;
  readonly #items: readonly PromptItem[];
  readonly #hashes: BlockHash[] = [];

  constructor(request: SequenceRequest, hasher: BlockHasher, blockSize: number) {
    this.promptCount = request.promptTokenIds.length;
    this.outputCount = request.outputTokenIds.length;
    this.isHeld = request.isHeld === true;
    this.isRemote = request.isRemote === true;
    if (request.cacheHitThreshold !== undefined) this.cacheHitThreshold = request.cacheHitThreshold;
    this.lora = request.lora;
    this.#hasher = hasher;
    this.#blockSize = blockSize;
    this.cacheSalt = request.cacheSalt;
    this.#items = request.items ?? [];
    this.#tokenIds = new Uint32Array(this.promptCount + this.outputCount);
    this.#tokenIds.set(request.promptTokenIds);
    this.#tokenIds.set(request.outputTokenIds, this.promptCount);
  }

  /** Each is computed once. */
  hashes(count: number): readonly BlockHash[] {
    while (this.#hashes.length < count) {
      const i = this.#hashes.length;
      const parent = this.#hashes[i - 1] ?? this.#hasher.root;
      this.#hashes.push(this.#hasher.hash(parent, this.tokens(i, i + 1), this.extras(i)));
    }
    return this.#hashes;
  }

  /** The tokens of the blocks from `first` to `end`; owned by the content. */
  tokens(first: number, end: number): Uint32Array {
    return this.#tokenIds.subarray(first * this.#blockSize, end * this.#blockSize);
  }

  /**
   * What the hash of a block covers besides tokens: the adapter in every block, then the pictures
   * that reach into it, then the salt in the first block. Source: vLLM vllm/v1/core/
   * kv_cache_utils.py, generate_block_hash_extra_keys.
   */
  extras(block: number): readonly BlockExtra[] {
    const start = block * this.#blockSize;
    const extras: BlockExtra[] = this.lora === undefined ? [] : [{ text: this.lora }];
    for (const { identifier, offset, length } of this.#items) {
      if (offset >= start + this.#blockSize || offset + length <= start) continue;
      extras.push({ text: identifier, offset: offset - start });
    }
    if (block === 0 && this.cacheSalt !== undefined) extras.push({ text: this.cacheSalt });
    return extras;
  }
}
