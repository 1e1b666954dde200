import { describe, expect, it } from "vitest";
import type { EdgeLane } from "../../../src/scheduler/edge/contracts.ts";
import { UnseenDispatches } from "../../../src/scheduler/edge/unseen-dispatches.ts";
import { ENDPOINTS_MAX, EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

const ENDPOINTS = 32;
const RATE = { requestsPerS: 100, promptTokens: 1_000, uncachedTokens: 500, kvTokens: 700 };

function createTable(): EndpointTable {
  const table = new EndpointTable();
  for (let i = 0; i < ENDPOINTS; i++)
    table.add({ id: `e/${i}`, address: `e-${i}:1`, engine: "vllm", labels: {} });
  return table;
}

/** What a pick has left, `ageMs` after a snapshot. */
function keptAt(
  ageMs: number,
  {
    table = createTable(),
    matched = new Int32Array(ENDPOINTS),
    seed = 1,
    own = 0,
    lane = undefined as EdgeLane | undefined,
  } = {},
): number[] {
  const unseen = new UnseenDispatches();
  unseen.begin({ rate: RATE, lane }, 1_000, own);
  const view = { columns: table.columns, nowMs: 1_000 + ageMs, staleAfterMs: 10_000 };
  // What a pick before has left there means nothing.
  const spared = new Uint8Array(ENDPOINTS_MAX).fill(1);
  const isAnySpared = unseen.spare(view, () => matched, seed, spared);
  return [...table.slots()].filter((slot) => !isAnySpared || spared[slot] === 0);
}

describe("UnseenDispatches", () => {
  it("leaves the whole choice right after a snapshot, and where nobody else is", () => {
    expect(keptAt(0)).toHaveLength(ENDPOINTS);
    expect(keptAt(1_000, { own: 100 })).toHaveLength(ENDPOINTS);
  });

  it("leaves the fewer to choose from the more others have sent meanwhile, and one at least", () => {
    // 1 request, then 2, then 100.
    expect(keptAt(10)).toHaveLength(8);
    expect(keptAt(20)).toHaveLength(4);
    expect(keptAt(1_000)).toHaveLength(1);
  });

  it("leaves others to each pick", () => {
    const kept = Array.from({ length: 100 }, (_, seed) => keptAt(1_000, { seed })[0]!);
    expect(new Set(kept).size).toBeGreaterThan(ENDPOINTS / 2);
    expect(keptAt(1_000, { seed: 5 })).toEqual(keptAt(1_000, { seed: 5 }));
  });

  it("leaves those that are known to be busy only where all are", () => {
    const table = createTable();
    const prompt = { promptTokens: 10_000, uncachedTokens: 10_000 };
    for (let slot = 1; slot < ENDPOINTS; slot++) table.dispatched(slot, 10_000, 1_000, prompt);
    for (let seed = 0; seed < 10; seed++) expect(keptAt(300, { table, seed })).toEqual([0]);
  });

  it("keeps what is idle of the isolate's own lane, and now and then one of the rest", () => {
    const table = createTable();
    table.dispatched(11, 10_000, 1_000, { promptTokens: 10_000, uncachedTokens: 10_000 });
    const sizes = Array.from({ length: 400 }, (_, seed) => {
      const kept = keptAt(300, { table, seed, lane: { index: 3, count: 8 } });
      expect(kept).toEqual(expect.arrayContaining([3, 19, 27]));
      expect(kept).not.toContain(11);
      return kept.length;
    });
    expect(new Set(sizes)).toEqual(new Set([3, 4]));
    const beyond = sizes.filter((size) => size === 4).length;
    expect(beyond).toBeGreaterThan(25);
    expect(beyond).toBeLessThan(80);
  });

  it("leaves one of the rest where nothing of the lane is idle", () => {
    const table = createTable();
    const prompt = { promptTokens: 10_000, uncachedTokens: 10_000 };
    for (const slot of [3, 11, 19, 27]) table.dispatched(slot, 10_000, 1_000, prompt);
    const kept = keptAt(300, { table, lane: { index: 3, count: 8 } });
    expect(kept).toHaveLength(1);
    expect([3, 11, 19, 27]).not.toContain(kept[0]);
  });

  it("shares endpoints where there are more isolates than these", () => {
    expect(keptAt(1_000, { lane: { index: 2 * ENDPOINTS + 5, count: 99 } })).toContain(5);
  });

  it.for([
    { name: "ejected", spoil: (table: EndpointTable) => table.eject(3, 60_000) },
    {
      name: "silent",
      spoil: (table: EndpointTable) => table.applySample(3, { waiting: 0, running: 0 }, -60_000),
    },
    {
      name: "short of memory",
      spoil: (table: EndpointTable) => table.applySample(3, { waiting: 0, kvUsage: 0.99 }, 1_000),
    },
    {
      name: "full",
      spoil: (table: EndpointTable) => table.applySample(3, { waiting: 60, kvUsage: 0 }, 1_000),
    },
  ])("keeps nobody for being the isolate's own who is $name", ({ spoil }) => {
    const table = createTable();
    // The others are busy with prompts, and the spoilt one, which is sent none, is not.
    for (let slot = 0; slot < ENDPOINTS; slot++) {
      table.applySample(slot, { waiting: 0, running: 0, kvUsage: 0 }, 1_000);
      if (slot !== 3) {
        const prompt = { promptTokens: 10_000, uncachedTokens: 10_000 };
        table.dispatched(slot, 10_000, 1_000, prompt);
      }
    }
    spoil(table);
    for (let seed = 0; seed < 20; seed++) {
      const kept = keptAt(300, { table, seed, lane: { index: 3, count: 8 } });
      expect(kept).not.toContain(3);
      expect(kept.length).toBeGreaterThan(0);
    }
  });

  it("keeps who holds more of the prompt than most", () => {
    const matched = new Int32Array(ENDPOINTS).fill(15);
    matched[7] = 100;
    matched[9] = 20;
    for (let seed = 0; seed < 10; seed++) {
      const kept = keptAt(1_000, { matched, seed });
      expect(kept).toContain(7);
      expect(kept).toHaveLength(2);
    }
  });
});
