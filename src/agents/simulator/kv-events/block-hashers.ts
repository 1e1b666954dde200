// The ways an engine may name its blocks, by vLLM's flag --prefix-caching-hash-algo.
//
//   sha256_cbor:  root    = SHA256(CBOR(seed))
//                 hash[i] = SHA256(CBOR([hash[i-1] or root, [token ids], extras or null]))
//
// Source: vLLM vllm/v1/core/kv_cache_utils.py. vLLM's default, sha256, hashes a Python pickle, which
// nothing else can compute; `cbor-fnv` is what llm-d-inference-sim has.

import { createHash } from "node:crypto";
import { createFnvHasher, type BlockHash, type BlockHasher } from "../model/block-hash.ts";
import {
  writeArrayHead,
  writeBytes,
  writeInt,
  writeNull,
  writeText,
  type ByteSink,
} from "../model/cbor.ts";

export const HASH_ALGORITHMS = ["cbor-fnv", "sha256_cbor"] as const;
export type HashAlgorithm = (typeof HASH_ALGORITHMS)[number];

/** Length of a whole hash. */
export const HASH_BYTES: Readonly<Record<HashAlgorithm, number>> = {
  "cbor-fnv": 8,
  sha256_cbor: 32,
};

/** `model` goes into the hashes of `cbor-fnv` only. */
export function createHasher(algorithm: HashAlgorithm, model: string, seed: string): BlockHasher {
  return algorithm === "cbor-fnv" ? createFnvHasher(model, seed) : createShaHasher(seed);
}

function createShaHasher(seed: string): BlockHasher {
  return {
    root: sha256((sink) => writeText(sink, seed)),
    hash: (parent, tokenIds, extras) =>
      sha256((sink) => {
        writeArrayHead(sink, 3);
        writeBytes(sink, bytesOf(parent));
        writeArrayHead(sink, tokenIds.length);
        for (const id of tokenIds) writeInt(sink, id);
        if (extras.length === 0) return writeNull(sink);
        writeArrayHead(sink, extras.length);
        for (const { text, offset } of extras) {
          if (offset !== undefined) writeArrayHead(sink, 2);
          writeText(sink, text);
          if (offset !== undefined) writeInt(sink, offset);
        }
      }),
  };
}

function sha256(write: (sink: ByteSink) => void): BlockHash {
  const bytes: number[] = [];
  write({ byte: (byte) => void bytes.push(byte) });
  const digest = createHash("sha256").update(Uint8Array.from(bytes)).digest("hex");
  return BigInt(`0x${digest}`);
}

function bytesOf(hash: BlockHash): Uint8Array {
  return Buffer.from(hash.toString(16).padStart(HASH_BYTES.sha256_cbor * 2, "0"), "hex");
}
