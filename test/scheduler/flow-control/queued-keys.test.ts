import fc from "fast-check";
import { expect, it } from "vitest";
import { QUEUED_KEYS_MAX } from "../../../src/scheduler/flow-control/contracts.ts";
import { thinKeys } from "../../../src/scheduler/flow-control/queued-keys.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";

it("keeps the last key of each stride, and all of a short prompt", () => {
  const keys = Uint32Array.from({ length: 2 * 3 * QUEUED_KEYS_MAX }, (_, i) => i);
  const thin = thinKeys(keys);
  expect(thin.blocksPerKey).toBe(3);
  expect([...thin.keys.subarray(0, 4)]).toEqual([4, 5, 10, 11]);
  expect([...thin.keys.subarray(-2)]).toEqual([...keys.subarray(-2)]);
  const short = keys.subarray(0, 2 * QUEUED_KEYS_MAX);
  expect(thinKeys(short)).toEqual({ keys: short, blocksPerKey: 1 });
  expect(thinKeys(new Uint32Array(0))).toEqual({ keys: new Uint32Array(0), blocksPerKey: 1 });
});

it("lets a match be told, less than a stride short", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), fc.nat(1_000), (blocks, held) => {
      const keys = Uint32Array.from({ length: 2 * blocks }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
      const tree = new PrefixTree();
      const isHeld = Math.min(held, blocks);
      tree.insert(keys.subarray(0, 2 * isHeld), 0);
      const thin = thinKeys(keys);
      expect(thin.keys.length).toBeLessThanOrEqual(2 * QUEUED_KEYS_MAX);
      const matched = new Int32Array(ENDPOINTS_MAX);
      tree.match(thin.keys, matched);
      const told = matched[0]! * thin.blocksPerKey;
      expect(told).toBeLessThanOrEqual(isHeld);
      expect(told).toBeGreaterThan(isHeld - thin.blocksPerKey);
    }),
    { numRuns: 30 },
  );
});
