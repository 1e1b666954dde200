// What happens to an engine's KV cache, before it is given a wire form.

import type { BlockExtra, BlockHash } from "../model/block-hash.ts";

/** Where a block is. What an engine calls it depends on the engine. */
export type Tier = "gpu" | "cpu" | "storage";

export interface BlocksStored {
  readonly kind: "stored";
  readonly tier: Tier;
  /** Tokens that the layers see whose blocks these are; absent for those that see everything. */
  readonly window?: number;
  /** In the order of the chain. At least one. */
  readonly hashes: readonly BlockHash[];
  /** What the blocks hold. Absent where a tier does not know, or does not tell. */
  readonly content?: StoredContent;
}

export interface StoredContent {
  /** Of the block before the first; undefined at the beginning of a chain. */
  readonly parent: BlockHash | undefined;
  /** Of all blocks, concatenated. */
  readonly tokenIds: Uint32Array;
  readonly blockSize: number;
  readonly lora: Lora | undefined;
  readonly cacheSalt: string | undefined;
  /** One list a block. */
  readonly extras: readonly (readonly BlockExtra[])[];
}

/** An adapter. */
export interface Lora {
  /** From 1 on; 0 is the base model. */
  readonly id: number;
  readonly name: string;
}

export interface BlocksRemoved {
  readonly kind: "removed";
  readonly tier: Tier;
  /** As above. */
  readonly window?: number;
  readonly hashes: readonly BlockHash[];
}

/** Every block of every tier of the engine is gone. */
export interface AllCleared {
  readonly kind: "cleared";
}

export type KvEvent = BlocksStored | BlocksRemoved | AllCleared;
