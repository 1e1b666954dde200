// Ways to tell what a pool holds in so many bytes: the one that is used, and those that it was chosen over.
//
//   bloom            the digest: plain, cut for the least error of a match, walked along the chain
//   bloom_10_bits    the same structure with the usual 10 bits a key, and fewer keys for it
//   blocked_bloom    the digest's cut, all bits of a key in one block of 64 bytes
//   fingerprints     cuckoo hashing of 8 bits a key in buckets of four
//   galloping        the digest, searched in steps that double, then halved

import type { KeyTable } from "../../src/scheduler/kv/block-table.ts";
import { CacheDigestBuilder } from "../../src/scheduler/kv/digest/cache-digest-builder.ts";
import { CacheDigest } from "../../src/scheduler/kv/digest/cache-digest.ts";
import { cutFor, runOnBlocks } from "../../src/scheduler/kv/digest/layout.ts";

export interface Matcher {
  readonly falsePositiveRate: number;
  matchedBlocks(keys: Uint32Array): number;
}

type Candidate = (table: KeyTable, bytes: number) => Matcher;

export const CANDIDATES = {
  bloom: (table, bytes) => digestOf(table, bytes),
  bloom_10_bits: (table, bytes) => tenBits(table, bytes),
  blocked_bloom: (table, bytes) => blockedBloom(table, bytes),
  fingerprints: (table, bytes) => fingerprints(table, bytes),
  galloping: (table, bytes) => galloping(table, bytes),
} as const satisfies Record<string, Candidate>;

const PIECE = new Uint32Array(1 << 16);

export function eachKey(table: KeyTable, add: (low: number, high: number) => void): void {
  let position: number | undefined = 0;
  while (position !== undefined) {
    const { keys, next } = table.readKeys(position, PIECE);
    for (let at = 0; at < keys.length; at += 2) add(keys[at]!, keys[at + 1]!);
    position = next;
  }
}

export function digestOf(table: KeyTable, bytesMax: number): CacheDigest {
  const builder = new CacheDigestBuilder({ keyCount: table.size, bytesMax });
  eachKey(table, (low, high) => builder.add(low, high));
  return CacheDigest.decode(builder.encode())!;
}

type Has = (low: number, high: number) => boolean;

/** As CacheDigest walks, over any set of a sample. */
function walk(has: Has, sampling: number, falsePositiveRate: number): Matcher {
  const runOn = runOnBlocks(falsePositiveRate, sampling);
  return {
    falsePositiveRate,
    matchedBlocks(keys) {
      let known = 0;
      let at = 0;
      for (; at < keys.length >>> 1; at++) {
        if (keys[at * 2]! % sampling !== 0) continue;
        if (!has(keys[at * 2]!, keys[at * 2 + 1]!)) break;
        known = at + 1;
      }
      return Math.max(0, Math.round((known + at) / 2 - runOn));
    },
  };
}

function mix(low: number, high: number): number {
  let h = Math.imul(low, 0x9e3779b1) ^ high;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function tenBits(table: KeyTable, bytes: number): Matcher {
  const sampling = Math.max(1, Math.ceil((table.size * 10) / (bytes * 8)));
  const hashes = 7;
  return bitsOf(table, { bytes, sampling, hashes, place: (hash) => hash % (bytes * 8) });
}

function blockedBloom(table: KeyTable, bytes: number): Matcher {
  const { sampling, hashes } = cutFor(table.size, bytes);
  const blocks = bytes / 64;
  const place = (hash: number, first: number) => (first % blocks) * 512 + (hash >>> 23);
  return bitsOf(table, { bytes, sampling, hashes, place });
}

interface BitsShape {
  readonly bytes: number;
  readonly sampling: number;
  readonly hashes: number;
  /** Of a bit, by the hash for it and the key's first. */
  readonly place: (hash: number, first: number) => number;
}

function bitsOf(table: KeyTable, { bytes, sampling, hashes, place }: BitsShape): Matcher {
  const bits = new Uint8Array(bytes);
  const each = (low: number, high: number, visit: (bit: number) => boolean): boolean => {
    const first = mix(low, high);
    let hash = first;
    for (let i = 0; i < hashes; i++) {
      if (!visit(place(hash, first))) return false;
      hash = mix(hash, high + i + 1);
    }
    return true;
  };
  eachKey(table, (low, high) => {
    if (low % sampling !== 0) return;
    each(low, high, (bit) => {
      bits[bit >>> 3]! |= 1 << (bit & 7);
      return true;
    });
  });
  const isSet = (bit: number) => (bits[bit >>> 3]! & (1 << (bit & 7))) !== 0;
  const has: Has = (low, high) => each(low, high, isSet);
  return walk(has, sampling, rateOf(has));
}

const BUCKET = 4;
const KICKS_MAX = 500;
const LOAD = 0.95;

function fingerprints(table: KeyTable, bytes: number): Matcher {
  const buckets = 2 ** Math.floor(Math.log2(bytes / BUCKET));
  const sampling = Math.max(1, Math.ceil(table.size / (buckets * BUCKET * LOAD)));
  const slots = new Uint8Array(buckets * BUCKET);
  const printOf = (low: number, high: number) => mix(high, low) & 0xff || 1;
  const homeOf = (low: number, high: number) => mix(low, high) & (buckets - 1);
  const otherOf = (bucket: number, print: number) => (bucket ^ mix(print, 1)) & (buckets - 1);
  const place = (bucket: number, print: number): boolean => {
    for (let i = bucket * BUCKET; i < bucket * BUCKET + BUCKET; i++) {
      if (slots[i] === print) return true;
      if (slots[i] !== 0) continue;
      slots[i] = print;
      return true;
    }
    return false;
  };
  eachKey(table, (low, high) => {
    if (low % sampling !== 0) return;
    let print = printOf(low, high);
    let bucket = homeOf(low, high);
    if (place(bucket, print) || place(otherOf(bucket, print), print)) return;
    for (let kick = 0; kick < KICKS_MAX; kick++) {
      const at = bucket * BUCKET + (mix(kick, print) % BUCKET);
      const moved = slots[at]!;
      slots[at] = print;
      print = moved;
      bucket = otherOf(bucket, print);
      if (place(bucket, print)) return;
    }
  });
  const holds = (bucket: number, print: number) => {
    for (let i = bucket * BUCKET; i < bucket * BUCKET + BUCKET; i++)
      if (slots[i] === print) return true;
    return false;
  };
  const has: Has = (low, high) => {
    const print = printOf(low, high);
    const home = homeOf(low, high);
    return holds(home, print) || holds(otherOf(home, print), print);
  };
  return walk(has, sampling, rateOf(has));
}

function galloping(table: KeyTable, bytes: number): Matcher {
  const digest = digestOf(table, bytes);
  const { sampling, falsePositiveRate } = digest;
  // Of a path of one block it says whether that is there.
  const has = (keys: Uint32Array, i: number) =>
    digest.matchedBlocksMax(keys.subarray(i * 2, i * 2 + 2)) === 1;
  return {
    falsePositiveRate,
    matchedBlocks(keys) {
      const count = keys.length >>> 1;
      const sample: number[] = [];
      for (let i = 0; i < count; i++) if (keys[i * 2]! % sampling === 0) sample.push(i);
      let there = 0;
      let step = 1;
      while (there + step <= sample.length && has(keys, sample[there + step - 1]!)) {
        there += step;
        step *= 2;
      }
      let absent = Math.min(sample.length, there + step - 1);
      while (there < absent) {
        const middle = (there + absent + 1) >>> 1;
        if (has(keys, sample[middle - 1]!)) there = middle;
        else absent = middle - 1;
      }
      const known = there === 0 ? 0 : sample[there - 1]! + 1;
      return Math.round((known + (sample[there] ?? count)) / 2);
    },
  };
}

/** Measured with keys that nobody added. */
function rateOf(has: Has): number {
  const tries = 20_000;
  let wrong = 0;
  for (let i = 0; i < tries; i++) if (has(mix(i, 17), mix(i, 71))) wrong++;
  return Math.min(0.95, wrong / tries);
}
