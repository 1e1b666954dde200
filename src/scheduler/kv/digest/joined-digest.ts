// Digests of a pool's objects side by side: each holds the part of the prompts that goes to its object.
//
//   byte  0      1        2      3   4 ..            4 + 4n ..
//         0xfe   version  parts  0   bytes of each   the digests
//
// Integers are little-endian. Not one filter of all: what each fills to a third, together they would fill to
// the brim. A prompt's blocks are in one part from the split on, and before it in every one, so the part
// that knows most of it knows what the pool holds.

import { SHARDS_MAX } from "../../shards/contracts.ts";
import { CacheDigest } from "./cache-digest.ts";

const MAGIC = 0xfe;
const LAYOUT_VERSION = 1;
const HEADER_BYTES = 4;
const LENGTH_BYTES = 4;

/** What a pool's caches hold, of one object or several. */
export interface PoolContent {
  /** How many blocks of the path, from its first, are likely to be resident in the pool. */
  matchedBlocks(keys: Uint32Array): number;
}

/** Undefined for bytes that are neither a digest nor several, or of a later layout. */
export function decodePoolContent(bytes: Uint8Array): PoolContent | undefined {
  const parts = splitDigests(bytes);
  if (parts === undefined) return CacheDigest.decode(bytes);
  const digests = parts.flatMap((part) => CacheDigest.decode(part) ?? []);
  if (digests.length === 0) return undefined;
  return {
    matchedBlocks: (keys) =>
      digests.reduce((most, digest) => Math.max(most, digest.matchedBlocks(keys)), 0),
  };
}

/** One digest a shard, in their order; an empty one where there is none. At most SHARDS_MAX. */
export function joinDigests(parts: readonly Uint8Array[]): Uint8Array {
  const begin = HEADER_BYTES + LENGTH_BYTES * parts.length;
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, begin));
  const header = new DataView(bytes.buffer);
  bytes.set([MAGIC, LAYOUT_VERSION, parts.length, 0]);
  let at = begin;
  parts.forEach((part, i) => {
    header.setUint32(HEADER_BYTES + LENGTH_BYTES * i, part.length, true);
    bytes.set(part, at);
    at += part.length;
  });
  return bytes;
}

/** Views of the parts, by shard; undefined for bytes that `joinDigests` has not made. */
export function splitDigests(bytes: Uint8Array): Uint8Array[] | undefined {
  const [magic, version, count = 0] = bytes;
  if (magic !== MAGIC || version !== LAYOUT_VERSION || count > SHARDS_MAX) return undefined;
  let at = HEADER_BYTES + LENGTH_BYTES * count;
  if (bytes.length < at) return undefined;
  const header = new DataView(bytes.buffer, bytes.byteOffset, at);
  const parts: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const length = header.getUint32(HEADER_BYTES + LENGTH_BYTES * i, true);
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return at === bytes.length ? parts : undefined;
}
