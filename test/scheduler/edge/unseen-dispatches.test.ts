import { describe, expect, it } from "vitest";
import { UnseenDispatches } from "../../../src/scheduler/edge/unseen-dispatches.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

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
    rate = RATE,
    own = 0,
  } = {},
): number[] {
  const unseen = new UnseenDispatches();
  unseen.begin(rate, 1_000, own);
  const at = { nowMs: 1_000 + ageMs, seed };
  const leftOut = new Set(unseen.leftOut(table.columns, () => matched, at));
  return [...table.slots()].filter((slot) => !leftOut.has(slot));
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
