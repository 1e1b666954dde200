// How a digest is laid out, and how it is cut to the number of keys it has to hold.
//
//   byte  0      1        2       3      4..7       8..11      12..15    16 ..
//         0xfd   version  hashes  flags  sampling   keyCount   0         bits of the Bloom filter
//
// Integers are little-endian. The number of bits is a power of two: what is left of the bytes.
//
// A prompt's keys are a chain, so a wrong yes does little harm: whoever walks a chain stops at the first
// no, and goes too far by s·f / (1 - f) blocks in the mean, f being the rate of wrong answers and s the
// blocks between two keys that are asked for. Leaving out keys does harm at once: an end that lies between
// two of them is off by (s - 1) / 2 blocks. So few bits a key are taken, and keys are left out only when
// those few are not there either. docs/decisions/043-cache-digest.md has the curve.

import { CONTENT_KEYS_MAX } from "../content-keys.ts";

export const CACHE_DIGEST_LIMITS = {
  /** Of a digest's bits; its header adds a few. */
  bytesDefault: 32 * 1024,
  bytesMin: 64,
  bytesMax: 256 * 1024,
  /** One key in so many. */
  samplingMax: CONTENT_KEYS_MAX,
  /** More hashes than this gain nothing that a chain's length notices. */
  hashesMax: 4,
} as const;

export const HEADER_BYTES = 16;
export const MAGIC = 0xfd;
export const LAYOUT_VERSION = 1;
/** Flags: something that the pool knows is not in it. */
export const FLAG_INCOMPLETE = 1;
/** Of a digest that is not full: then a chain ends 0.02 blocks too late in the mean. */
const BITS_PER_KEY = 8;

/** The parts of a digest, as views. Undefined for bytes that are none, or one of a later layout. */
export function readHeader(bytes: Uint8Array): { header: DataView; bits: Uint8Array } | undefined {
  const { bytesMin, bytesMax, samplingMax, hashesMax } = CACHE_DIGEST_LIMITS;
  const bitBytes = bytes.length - HEADER_BYTES;
  if (bitBytes < bytesMin || bitBytes > bytesMax) return undefined;
  const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const bits = bytes.subarray(HEADER_BYTES);
  const hashes = header.getUint8(2);
  const sampling = header.getUint32(4, true);
  if (header.getUint8(0) !== MAGIC || header.getUint8(1) !== LAYOUT_VERSION) return undefined;
  if (hashes < 1 || hashes > hashesMax || sampling < 1 || sampling > samplingMax) return undefined;
  return (bits.length & (bits.length - 1)) === 0 ? { header, bits } : undefined;
}

/** What a digest is cut to. */
export interface DigestCut {
  /** A power of two. */
  readonly bitBytes: number;
  readonly hashes: number;
  /** One key in so many is in it. */
  readonly sampling: number;
}

/** For so many keys in so many bytes of bits at most: the cut with the least error of a match. */
export function cutFor(keyCount: number, bytesMax: number): DigestCut {
  const { bytesMin, bytesMax: most, samplingMax } = CACHE_DIGEST_LIMITS;
  const room = Math.max(bytesMin, Math.min(bytesMax, most));
  const wanted = Math.max(bytesMin, (keyCount * BITS_PER_KEY) / 8);
  const bitBytes = 2 ** Math.min(Math.ceil(Math.log2(wanted)), Math.floor(Math.log2(room)));
  const bitsPerKey = (bitBytes * 8) / Math.max(1, keyCount);
  let best = { bitBytes, hashes: hashesFor(bitsPerKey), sampling: 1 };
  let least = Infinity;
  // Beyond this the keys left out alone do more harm than what was found.
  for (let sampling = 1; sampling <= samplingMax && (sampling - 1) / 2 < least; sampling++) {
    const hashes = hashesFor(bitsPerKey * sampling);
    const set = 1 - Math.exp(-hashes / (bitsPerKey * sampling));
    const errorBlocks = (sampling - 1) / 2 + runOnBlocks(set ** hashes, sampling);
    if (errorBlocks >= least) continue;
    least = errorBlocks;
    best = { bitBytes, hashes, sampling };
  }
  return best;
}

/** How many blocks too far a walk goes in the mean. */
export function runOnBlocks(falsePositiveRate: number, sampling: number): number {
  return (sampling * falsePositiveRate) / (1 - falsePositiveRate);
}

function hashesFor(bitsPerKey: number): number {
  const best = Math.round(bitsPerKey * Math.LN2);
  return Math.min(CACHE_DIGEST_LIMITS.hashesMax, Math.max(1, best));
}

/**
 * Distance between the bits of a key, the first of which is named by its high word. Odd, so that they are
 * distinct; from leading bits of a product, because those left in by sampling may share trailing ones.
 */
export function strideOf(low: number): number {
  return (Math.imul(low, 0x9e3779b1) >>> 8) | 1;
}
