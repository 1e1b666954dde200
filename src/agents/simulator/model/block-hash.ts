// Hashes of KV blocks: each names its whole prefix, because a block's hash covers its parent's.
//
//   root    = FNV1a64(CBOR([FNV1a64(seed), null, model]))
//   hash[i] = FNV1a64(CBOR([hash[i-1] or root, [token ids], extras or null]))
//
// Source: llm-d-router pkg/kvcache/kvblock/token_processor.go, algorithm `cbor-fnv`, which
// llm-d-inference-sim uses for its engine hashes too. CBOR is canonical: shortest integers,
// definite lengths.

import { eachUtf8Byte, Fnv64 } from "./fnv.ts";

/** An unsigned 64-bit hash of a full block and everything before it. */
export type BlockHash = bigint;

const CBOR_UINT = 0;
const CBOR_TEXT = 3;
const CBOR_ARRAY = 4;
const CBOR_NULL = 0xf6;
/** A map of one entry, whose key is the text "Hash": llm-d's struct of one field. */
const CBOR_MAP_OF_HASH = [0xa1, 0x64, 0x48, 0x61, 0x73, 0x68] as const;

/** The parent of every first block of `model`. Engines agree on hashes only if seeds agree. */
export function rootHash(model: string, seed: string): BlockHash {
  const seedHash = new Fnv64();
  seedHash.text(seed);
  const hash = new Fnv64();
  writeHead(hash, CBOR_ARRAY, 3n);
  writeHead(hash, CBOR_UINT, seedHash.digest());
  hash.byte(CBOR_NULL);
  writeText(hash, model);
  return hash.digest();
}

/** The hash of one full block. `extras` are what else decides its content, such as a cache salt. */
export function blockHash(
  parent: BlockHash,
  tokenIds: Uint32Array,
  extras: readonly string[],
): BlockHash {
  const hash = new Fnv64();
  writeHead(hash, CBOR_ARRAY, 3n);
  writeHead(hash, CBOR_UINT, parent);
  writeSmallHead(hash, CBOR_ARRAY, tokenIds.length);
  for (let i = 0; i < tokenIds.length; i++) writeSmallHead(hash, CBOR_UINT, tokenIds[i]!);
  if (extras.length === 0) {
    hash.byte(CBOR_NULL);
  } else {
    writeSmallHead(hash, CBOR_ARRAY, extras.length);
    for (const extra of extras) {
      for (const byte of CBOR_MAP_OF_HASH) hash.byte(byte);
      writeText(hash, extra);
    }
  }
  return hash.digest();
}

function writeText(hash: Fnv64, text: string): void {
  let length = 0;
  eachUtf8Byte(text, () => length++);
  writeSmallHead(hash, CBOR_TEXT, length);
  hash.text(text);
}

function writeHead(hash: Fnv64, major: number, value: bigint): void {
  if (value < 0x1_0000_0000n) {
    writeSmallHead(hash, major, Number(value));
    return;
  }
  hash.byte((major << 5) | 27);
  for (let shift = 56n; shift >= 0n; shift -= 8n) hash.byte(Number((value >> shift) & 0xffn));
}

function writeSmallHead(hash: Fnv64, major: number, value: number): void {
  const head = major << 5;
  if (value < 24) {
    hash.byte(head | value);
  } else if (value < 0x100) {
    hash.byte(head | 24);
    hash.byte(value);
  } else if (value < 0x10000) {
    hash.byte(head | 25);
    hash.byte(value >>> 8);
    hash.byte(value & 0xff);
  } else {
    hash.byte(head | 26);
    for (let shift = 24; shift >= 0; shift -= 8) hash.byte((value >>> shift) & 0xff);
  }
}
