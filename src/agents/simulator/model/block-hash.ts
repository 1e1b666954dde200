// Hashes of KV blocks: each names its whole prefix, because a block's hash covers its parent's.
//
//   root    = FNV1a64(CBOR([FNV1a64(seed), null, model]))
//   hash[i] = FNV1a64(CBOR([hash[i-1] or root, [token ids], extras or null]))
//
// Source: llm-d-router pkg/kvcache/kvblock/token_processor.go, algorithm `cbor-fnv`, which
// llm-d-inference-sim uses for its engine hashes too.

import { writeArrayHead, writeInt, writeNull, writeText, writeUint } from "./cbor.ts";
import { Fnv64 } from "./fnv.ts";

/** An unsigned hash of a full block and everything before it: 64 bits, or as its hasher has it. */
export type BlockHash = bigint;

/** What else decides a block's content, beside its tokens and what comes before them. */
export interface BlockExtra {
  /** An adapter's name, a cache salt, or what identifies a picture. */
  readonly text: string;
  /** Where a picture begins, from the block's first token; negative if before it. */
  readonly offset?: number;
}

/** Names the blocks of one engine. Engines agree on names only if they agree on all of it. */
export interface BlockHasher {
  /** The parent of every first block. */
  readonly root: BlockHash;
  /** The hash of one full block. */
  readonly hash: (
    parent: BlockHash,
    tokenIds: Uint32Array,
    extras: readonly BlockExtra[],
  ) => BlockHash;
}

/** A map of one entry, whose key is the text "Hash": llm-d's struct of one field. */
const CBOR_MAP_OF_HASH = [0xa1, 0x64, 0x48, 0x61, 0x73, 0x68] as const;

export function createFnvHasher(model: string, seed: string): BlockHasher {
  return { root: rootHash(model, seed), hash: blockHash };
}

function rootHash(model: string, seed: string): BlockHash {
  const seedHash = new Fnv64();
  seedHash.text(seed);
  const hash = new Fnv64();
  writeArrayHead(hash, 3);
  writeUint(hash, seedHash.digest());
  writeNull(hash);
  writeText(hash, model);
  return hash.digest();
}

/** Of extras only the text counts, as llm-d has it. */
function blockHash(
  parent: BlockHash,
  tokenIds: Uint32Array,
  extras: readonly BlockExtra[],
): BlockHash {
  const hash = new Fnv64();
  writeArrayHead(hash, 3);
  writeUint(hash, parent);
  writeArrayHead(hash, tokenIds.length);
  for (let i = 0; i < tokenIds.length; i++) writeInt(hash, tokenIds[i]!);
  if (extras.length === 0) {
    writeNull(hash);
  } else {
    writeArrayHead(hash, extras.length);
    for (const { text } of extras) {
      for (const byte of CBOR_MAP_OF_HASH) hash.byte(byte);
      writeText(hash, text);
    }
  }
  return hash.digest();
}
