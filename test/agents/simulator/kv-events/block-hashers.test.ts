import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  createHasher,
  HASH_BYTES,
} from "../../../../src/agents/simulator/kv-events/block-hashers.ts";

const VECTORS: Record<
  string,
  { seed: string; extras: (string[] | null)[] | null; root: string; digests: string[] }
> = JSON.parse(readFileSync("test/fixtures/simulator-vectors.json", "utf8"))["sha256-cbor"];

const hex = (hash: bigint) => hash.toString(16).padStart(HASH_BYTES.sha256_cbor * 2, "0");
const block = (first: number) => Uint32Array.from({ length: 16 }, (_, i) => first + i);

describe("sha256_cbor is vLLM's", () => {
  it.for(Object.keys(VECTORS))("%s", (name) => {
    const { seed, extras, root, digests } = VECTORS[name]!;
    const hasher = createHasher("sha256_cbor", "m", seed);
    expect(hex(hasher.root)).toBe(root);
    let parent = hasher.root;
    const hashes = [0, 1].map((i) => {
      const texts = extras?.[i] ?? [];
      parent = hasher.hash(
        parent,
        block(i * 16),
        texts.map((text) => ({ text })),
      );
      return hex(parent);
    });
    expect(hashes).toEqual(digests);
  });
});

it("tells pictures apart by where they begin", () => {
  const { root, hash } = createHasher("sha256_cbor", "m", "0");
  const at = (offset: number) => hash(root, block(0), [{ text: "cat", offset }]);
  expect(new Set([at(0), at(1), at(-1), hash(root, block(0), [{ text: "cat" }])]).size).toBe(4);
});

it("names blocks of different models alike, unless the algorithm has the model in it", () => {
  const first = (algorithm: "cbor-fnv" | "sha256_cbor", model: string) => {
    const { root, hash } = createHasher(algorithm, model, "0");
    return hash(root, block(0), []);
  };
  expect(first("sha256_cbor", "a")).toBe(first("sha256_cbor", "b"));
  expect(first("cbor-fnv", "a")).not.toBe(first("cbor-fnv", "b"));
});
