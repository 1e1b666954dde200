import { describe, expect, it } from "vitest";
import { CacheDigestBuilder } from "../../../../src/scheduler/kv/digest/cache-digest-builder.ts";
import {
  decodePoolContent,
  joinDigests,
  splitDigests,
} from "../../../../src/scheduler/kv/digest/joined-digest.ts";
import { SHARDS_MAX } from "../../../../src/scheduler/shards/contracts.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

function promptKeys(seed: number, blocks = 20): Uint32Array {
  const rng = createRng(seed);
  return Uint32Array.from({ length: blocks * 2 }, () => rng() * 2 ** 32);
}

function digestOf(...prompts: Uint32Array[]): Uint8Array {
  const builder = new CacheDigestBuilder({ keyCount: 100 });
  for (const keys of prompts) builder.addKeys(keys);
  return builder.encode();
}

const NONE = new Uint8Array();

describe("joined digests", () => {
  const [here, there, nowhere] = [1, 2, 3].map((seed) => promptKeys(seed));
  const joined = joinDigests([digestOf(here!), NONE, digestOf(there!, here!.subarray(0, 4))]);

  it("know what any of them knows, whichever holds the most of it", () => {
    const content = decodePoolContent(joined)!;
    expect(content.matchedBlocks(here!)).toBe(20);
    expect(content.matchedBlocks(there!)).toBe(20);
    expect(content.matchedBlocks(nowhere!)).toBeLessThan(2);
  });

  it("come apart again as they were", () => {
    const parts = splitDigests(joined)!;
    expect(parts.map(({ length }) => length)).toEqual([
      digestOf(here!).length,
      0,
      digestOf(here!).length,
    ]);
    expect(parts[0]).toEqual(digestOf(here!));
    // Also as a view of a larger buffer.
    const view = new Uint8Array([9, ...joined, 9]).subarray(1, joined.length + 1);
    expect(decodePoolContent(view)!.matchedBlocks(there!)).toBe(20);
  });

  it("are of as many objects as a pool may have", () => {
    const parts = Array.from({ length: SHARDS_MAX }, (_, i) => digestOf(promptKeys(i)));
    expect(splitDigests(joinDigests(parts))).toHaveLength(SHARDS_MAX);
    expect(splitDigests(joinDigests([...parts, NONE]))).toBeUndefined();
  });

  it("are also one alone, as an only object sends it", () => {
    expect(decodePoolContent(digestOf(here!))!.matchedBlocks(here!)).toBe(20);
  });

  it.for([
    { name: "nothing", bytes: NONE },
    { name: "no parts", bytes: joinDigests([NONE, NONE]) },
    { name: "a part of them", bytes: joined.subarray(0, 100) },
    { name: "their lengths alone", bytes: joined.subarray(0, 8) },
    { name: "more than them", bytes: new Uint8Array([...joined, 0]) },
    { name: "a later layout", bytes: new Uint8Array([0xfe, 2, ...joined.subarray(2)]) },
  ])("cannot be read of $name", ({ bytes }) => {
    expect(decodePoolContent(bytes)).toBeUndefined();
  });
});
