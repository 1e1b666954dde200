import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PrefixClaim, PrefixClaims } from "../../../src/durable/prefix/claims.ts";

const BLOCKS = 6;
const SLOTS = 2;

/** A path of six blocks that shares its first `shared` with path 0. Block names are whole paths. */
function path(n: number, shared: number): Uint32Array {
  return Uint32Array.from({ length: BLOCKS * 2 }, (_, word) => {
    const block = word >>> 1;
    return (block < shared ? 0 : (n * 10 + shared) * 100) + block + 1;
  });
}

function createHarness() {
  const held = Array.from({ length: SLOTS }, () => new Set<number>());
  const blocks = (keys: Uint32Array) => [...keys].filter((_, word) => word % 2 === 0);
  const claims = new PrefixClaims({
    learn(keys, slot) {
      const missing = blocks(keys).findIndex((block) => !held[slot]!.has(block));
      for (const block of blocks(keys)) held[slot]!.add(block);
      return missing === -1 ? BLOCKS : missing;
    },
    forget: (keys, firstBlock, slot) =>
      blocks(keys)
        .slice(firstBlock)
        .forEach((block) => held[slot]!.delete(block)),
  });
  const count = (keys: Uint32Array, slot = 0) =>
    blocks(keys).filter((block) => held[slot]!.has(block)).length;
  return { claims, count, held, blocks };
}

describe("a claim that fails", () => {
  it("takes back what only it vouched for", () => {
    const { claims, count } = createHarness();
    claims.confirm(path(1, 2), 0);
    claims.takeBack(claims.claim(path(0, 6), 0));
    expect([count(path(0, 6)), count(path(1, 2))]).toEqual([2, 6]);
  });

  it("leaves what another request has confirmed since", () => {
    const { claims, count } = createHarness();
    const first = claims.claim(path(0, 6), 0);
    const second = claims.claim(path(1, 4), 0);
    claims.drop(second);
    claims.confirm(path(1, 4), 0);
    claims.takeBack(first);
    expect([count(path(0, 6)), count(path(1, 4))]).toEqual([4, 6]);
  });

  it("leaves what another claim has at stake, which answers for it then", () => {
    const { claims, count } = createHarness();
    const first = claims.claim(path(0, 6), 0);
    const second = claims.claim(path(1, 4), 0);
    claims.takeBack(first);
    expect([count(path(0, 6)), count(path(1, 4))]).toEqual([4, 6]);
    claims.takeBack(second);
    expect(count(path(1, 4))).toBe(0);
  });

  it("does not touch another endpoint", () => {
    const { claims, count } = createHarness();
    claims.confirm(path(0, 6), 1);
    claims.takeBack(claims.claim(path(0, 6), 0));
    expect([count(path(0, 6), 0), count(path(0, 6), 1)]).toEqual([0, 6]);
  });
});

describe("claims", () => {
  it("in any order leave what was confirmed or is still claimed, and nothing else", () => {
    const step = fc.record({
      act: fc.constantFrom("claim", "confirm", "fail"),
      n: fc.integer({ min: 0, max: 4 }),
      shared: fc.integer({ min: 0, max: BLOCKS }),
      slot: fc.integer({ min: 0, max: SLOTS - 1 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { claims, held, blocks } = createHarness();
        const open: PrefixClaim[] = [];
        const confirmed = held.map(() => new Set<number>());
        for (const { act, n, shared, slot } of steps) {
          if (act === "claim") open.push(claims.claim(path(n, shared), slot));
          const claim = act === "claim" ? undefined : open.splice(n % (open.length || 1), 1)[0];
          if (claim === undefined) continue;
          if (act === "fail") claims.takeBack(claim);
          else {
            claims.drop(claim);
            claims.confirm(claim.keys, claim.slot);
            blocks(claim.keys).forEach((block) => confirmed[claim.slot]!.add(block));
          }
        }
        held.forEach((set, slot) => {
          const vouched = new Set(confirmed[slot]);
          for (const claim of open) {
            if (claim.slot === slot) blocks(claim.keys).forEach((block) => vouched.add(block));
          }
          expect(set).toEqual(vouched);
        });
      }),
    );
  });

  it("of an endpoint that left do not reach the next one in its slot", () => {
    const { claims, count } = createHarness();
    claims.claim(path(0, 6), 0);
    claims.endpointRemoved(0);
    claims.takeBack(claims.claim(path(1, 4), 0));
    expect(count(path(0, 6))).toBe(6);
  });
});
