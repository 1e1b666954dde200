import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";

const VECTORS = JSON.parse(readFileSync("test/fixtures/simulator-vectors.json", "utf8"))[
  "cbor-fnv"
];

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

interface Case {
  name: string;
  seed?: string;
  model?: string;
  tokens: number[];
  blockSize?: number;
  extras?: string[][];
}

const CASES: Case[] = [
  { name: "K1", tokens: range(32) },
  { name: "K2", seed: "42", tokens: range(32) },
  { name: "K3", model: "my-lora", tokens: range(32) },
  { name: "K4", tokens: range(40) },
  {
    name: "K5",
    tokens: [151644, 872, 198, 9707, 151645, 198, 151644, 77091],
    blockSize: 4,
  },
  { name: "K6", model: "Qwen/Qwen3-VL", tokens: range(32), extras: [[], ["img-hash-a"]] },
  {
    name: "K7",
    model: "Qwen/Qwen3-VL",
    tokens: range(32),
    extras: [["img-hash-a", "salt-1"], ["img-hash-a"]],
  },
  { name: "K8", model: "m", tokens: [65535, 65536, 4294967295, 0], blockSize: 4 },
];

function chain({ seed = "", model = "Qwen/Qwen3-32B", tokens, blockSize = 16, extras }: Case) {
  const hashes: string[] = [];
  const hasher = createFnvHasher(model, seed);
  let parent = hasher.root;
  for (let i = 0; (i + 1) * blockSize <= tokens.length; i++) {
    const block = Uint32Array.from(tokens.slice(i * blockSize, (i + 1) * blockSize));
    const texts = extras?.[i] ?? [];
    parent = hasher.hash(
      parent,
      block,
      texts.map((text) => ({ text })),
    );
    hashes.push(parent.toString(16).padStart(16, "0"));
  }
  return hashes;
}

describe("block hashes are llm-d's cbor-fnv keys", () => {
  it.for(CASES)("$name", (testCase) => {
    expect(chain(testCase)).toEqual(VECTORS[testCase.name]);
  });

  it("starts from the hash of seed and model", () => {
    const { root } = createFnvHasher("Qwen/Qwen3-32B", "");
    expect(root.toString(16)).toBe(VECTORS["model_Qwen3-32B_seed_empty"]);
  });
});
