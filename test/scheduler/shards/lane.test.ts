// Which endpoints are each shard's own, as far as it makes no difference.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { ShardLane, spareForLane } from "../../../src/scheduler/shards/lane.ts";

const NOW_MS = 10_000;
const ENDPOINTS = 6;
const IDLE = { waiting: 0, running: 0, kvUsage: 0 };
const PROMPT = { promptTokens: 2_000, uncachedTokens: 2_000 };

/** With endpoints of these numbers, in slots of this order. */
function tableOf(numbers: readonly number[]): EndpointTable {
  const table = new EndpointTable();
  for (const n of numbers) {
    const slot = table.add({ id: `e/${n}`, address: `e-${n}:1`, engine: "vllm", labels: {} })!;
    table.applySample(slot, IDLE, NOW_MS);
  }
  return table;
}

const createTable = () => tableOf(Array.from({ length: ENDPOINTS }, (_, n) => n));

/** Ids of the endpoints in a lane. */
function idsIn(
  lane: ShardLane,
  table: EndpointTable,
  of: { readonly index: number; readonly count: number },
): string[] {
  const isIn = lane.of(table, of);
  return [...table.slots()]
    .filter((slot) => isIn[slot] === 1)
    .map((slot) => table.endpoint(slot)!.id)
    .sort();
}

/** Who is left for shard 1 of 3, whose lane is endpoints 1 and 4; undefined where all are. */
function kept({
  table = createTable(),
  matched = new Int32Array(ENDPOINTS),
  staleAfterMs = 1_000,
} = {}): number[] | undefined {
  const isInLane = new ShardLane().of(table, { index: 1, count: 3 });
  const spared = new Uint8Array(ENDPOINTS).fill(2);
  const view = { columns: table.columns, nowMs: NOW_MS, staleAfterMs };
  if (!spareForLane(view, isInLane, () => matched, spared)) return undefined;
  return [...spared.keys()].filter((slot) => spared[slot] === 0);
}

describe("lanes of shards", () => {
  it("have each endpoint once, as many each, in whatever slots objects keep them", () => {
    const numbers = fc.uniqueArray(fc.nat({ max: 99 }), { minLength: 1, maxLength: 20 });
    const pool = numbers.chain((each) =>
      fc.record({
        one: fc.constant(each),
        other: fc.shuffledSubarray(each, { minLength: each.length }),
        count: fc.integer({ min: 2, max: 16 }),
      }),
    );
    fc.assert(
      fc.property(pool, ({ one, other, count }) => {
        const lanes = Array.from({ length: count }, (_, index) => {
          const here = idsIn(new ShardLane(), tableOf(one), { index, count });
          expect(idsIn(new ShardLane(), tableOf(other), { index, count })).toEqual(here);
          return here;
        });
        const sizes = lanes.map(({ length }) => length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(lanes.flat().sort()).toEqual(one.map((n) => `e/${n}`).sort());
      }),
      { numRuns: 30 },
    );
  });

  it("follow endpoints that come, go, and take each other's slots", () => {
    const table = createTable();
    const lane = new ShardLane();
    const [first, second] = [0, 1].map((index) => ({ index, count: 2 }));
    expect(idsIn(lane, table, first!)).toEqual(["e/0", "e/2", "e/4"]);
    table.remove(0);
    expect(idsIn(lane, table, first!)).toEqual(["e/1", "e/3", "e/5"]);
    table.add({ id: "e/9", address: "e-9:1", engine: "vllm", labels: {} });
    expect(idsIn(lane, table, first!)).toEqual(["e/1", "e/3", "e/5"]);
    expect(idsIn(lane, table, second!)).toEqual(["e/2", "e/4", "e/9"]);
    table.place(5, { id: "e/0", address: "e-0:1", engine: "vllm", labels: {} });
    expect(idsIn(lane, table, second!)).toEqual(["e/1", "e/3", "e/9"]);
  });
});

describe("spareForLane", () => {
  it("leaves the lane, and those that hold more than it does", () => {
    expect(kept()).toEqual([1, 4]);
    expect(kept({ matched: Int32Array.of(5, 5, 6, 0, 0, 9) })).toEqual([1, 2, 4, 5]);
  });

  it.each<[string, (table: EndpointTable, slot: number) => void]>([
    [
      "have long prompts to compute",
      (table, slot) => {
        table.dispatched(slot, 2_000, NOW_MS, PROMPT);
      },
    ],
    [
      "run many more requests",
      (table, slot) => {
        table.applySample(slot, { ...IDLE, running: 9 }, NOW_MS);
      },
    ],
    [
      "have many more waiting",
      (table, slot) => {
        table.applySample(slot, { ...IDLE, waiting: 9 }, NOW_MS);
      },
    ],
    ["have just come", (table, slot) => table.came(slot, NOW_MS - 9_999)],
    ["were ejected a moment ago", (table, slot) => table.eject(slot, NOW_MS - 1)],
    [
      "are short of memory",
      (table, slot) => {
        table.applySample(slot, { ...IDLE, kvUsage: 0.96 }, NOW_MS);
      },
    ],
    [
      "have far less memory",
      (table, slot) => {
        table.applySample(slot, { ...IDLE, kvUsage: 0.6 }, NOW_MS);
      },
    ],
    ["are ejected", (table, slot) => table.eject(slot, NOW_MS + 1_000)],
    ["have gone", (table, slot) => table.remove(slot)],
  ])("leaves all where those of the lane %s", (_, change) => {
    const table = createTable();
    change(table, 1);
    // What the other one holds is what counts then.
    expect(kept({ table, matched: Int32Array.of(0, 9, 3, 0, 2, 0) })).toContain(2);
    expect(kept({ table, matched: Int32Array.of(0, 9, 3, 0, 2, 0) })).not.toContain(3);
    change(table, 4);
    const isInLane = new ShardLane().of(createTable(), { index: 1, count: 3 });
    const spared = new Uint8Array(ENDPOINTS);
    const view = { columns: table.columns, nowMs: NOW_MS, staleAfterMs: 1_000 };
    const match = () => new Int32Array(ENDPOINTS);
    expect(spareForLane(view, isInLane, match, spared)).toBe(false);
  });

  it("leaves all where nobody has been heard of lately", () => {
    expect(kept({ staleAfterMs: -1 })).toBeUndefined();
  });

  it("holds nobody against one that has just come, unless all have", () => {
    const table = createTable();
    for (let slot = 0; slot < ENDPOINTS - 1; slot++)
      table.applySample(slot, { waiting: 20, running: 30, kvUsage: 0.8 }, NOW_MS);
    expect(kept({ table })).toBeUndefined();
    table.came(ENDPOINTS - 1, NOW_MS);
    expect(kept({ table })).toEqual([1, 4]);
    const young = createTable();
    for (let slot = 0; slot < ENDPOINTS; slot++) young.came(slot, NOW_MS);
    expect(kept({ table: young })).toEqual([1, 4]);
  });

  it("keeps a lane that has a little more to do than others", () => {
    const table = createTable();
    for (const slot of [1, 4]) table.applySample(slot, { ...IDLE, running: 8 }, NOW_MS);
    const { uncachedTokens, promptTokens } = { uncachedTokens: 1_000, promptTokens: 1_000 };
    table.dispatched(4, 1_000, NOW_MS, { uncachedTokens, promptTokens });
    expect(kept({ table })).toEqual([1, 4]);
  });
});
