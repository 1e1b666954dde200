import { describe, expect, it } from "vitest";
import { BlockWalk } from "../../../../src/scheduler/kv/residency/block-walk.ts";
import { KeyChains } from "../../../../src/scheduler/kv/residency/key-chains.ts";
import { keyHigh, keyLow } from "../../../../src/scheduler/kv/residency/token-keys.ts";

const TOKENS = Uint32Array.from({ length: 160 }, (_, i) => i * 7 + 1);

const placeOf = ({ stateLow, stateHigh, offset }: BlockWalk) => ({ stateLow, stateHigh, offset });
const keyOf = ({ stateLow, stateHigh }: BlockWalk) =>
  [keyLow(stateLow), keyHigh(stateLow, stateHigh)] as const;

describe("BlockWalk", () => {
  it("stands where the tokens end, however they are cut into blocks", () => {
    const walk = new BlockWalk(undefined);
    const ends = [16, 48, 64, 144].map((end, i, all) => {
      if (i === 0) walk.begin("lora");
      walk.addBlock(TOKENS, all[i - 1] ?? 0, end, undefined);
      return placeOf(walk);
    });
    expect(ends.map(({ offset }) => offset)).toEqual([16, 48, 0, 16]);
    walk.begin("lora");
    walk.addBlock(TOKENS, 0, 144, undefined);
    expect(placeOf(walk)).toEqual(ends.at(-1));
    walk.begin(null);
    walk.addBlock(TOKENS, 0, 144, undefined);
    expect(placeOf(walk)).not.toEqual(ends.at(-1));
  });

  it("goes on from a place as if it had not left it", () => {
    const walk = new BlockWalk(undefined);
    walk.begin(null);
    walk.addBlock(TOKENS, 0, 48, undefined);
    const { stateLow, stateHigh, offset } = placeOf(walk);
    walk.addBlock(TOKENS, 48, 96, undefined);
    const end = placeOf(walk);
    walk.begin("other");
    walk.resume(stateLow, stateHigh, offset);
    walk.addBlock(TOKENS, 48, 96, undefined);
    expect(placeOf(walk)).toEqual(end);
  });

  it("tells chains which block is behind which, from where they know it", () => {
    const chains = new KeyChains(64);
    const walk = new BlockWalk(chains);
    walk.begin(null);
    walk.addBlock(TOKENS, 0, 64, undefined);
    const { stateLow, stateHigh, offset } = placeOf(walk);
    walk.addBlock(TOKENS, 64, 96, undefined);
    expect(chains.size).toBe(2);
    walk.resume(stateLow, stateHigh, offset);
    walk.addBlock(TOKENS, 96, 128, undefined);
    expect(chains.size).toBe(3);
    // Nobody has told them of what this one is behind of.
    walk.resume(1, 2, 0);
    walk.addBlock(TOKENS, 0, 64, undefined);
    expect(chains.size).toBe(3);
    expect(chains.find(...keyOf(walk))).toBeLessThan(0);
  });
});
