// When an object takes an isolate's word for where a request is to go.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MORE_BLOCKS } from "../../../src/scheduler/edge/idle.ts";
import {
  PROPOSED_SLACK,
  sentSlack,
  spareForProposed,
} from "../../../src/scheduler/edge/proposed-endpoint.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

const NOW_MS = 10_000;
const ENDPOINTS = 6;
const IDLE = { waiting: 0, running: 0, kvUsage: 0 };

function createTable(): EndpointTable {
  const table = new EndpointTable();
  for (let n = 0; n < ENDPOINTS; n++) {
    table.add({ id: `e/${n}`, address: `e-${n}:1`, engine: "vllm", labels: {} });
    table.applySample(n, IDLE, NOW_MS);
  }
  return table;
}

/** Who is left beside `slot`; undefined where all are. */
function keptFor(
  slot: number,
  {
    table = createTable(),
    matched = new Int32Array(ENDPOINTS),
    staleAfterMs = 1_000,
    slack = PROPOSED_SLACK,
  } = {},
): number[] | undefined {
  const spared = new Uint8Array(ENDPOINTS);
  const view = { columns: table.columns, nowMs: NOW_MS, staleAfterMs };
  if (!spareForProposed(view, slot, () => matched, { spared, slack })) return undefined;
  return [...spared.keys()].filter((each) => spared[each] === 0);
}

describe("spareForProposed", () => {
  it("leaves an idle endpoint alone, and those that hold much more of the prompt", () => {
    expect(keptFor(2)).toEqual([2]);
    const matched = Int32Array.of(0, 0, 5, 5 + MORE_BLOCKS, 6 + MORE_BLOCKS, 0);
    expect(keptFor(2, { matched })).toEqual([2, 4]);
  });

  it.each<[string, (table: EndpointTable) => void]>([
    ["is at a prompt", (table) => table.dispatched(2, 900, NOW_MS, PROMPT)],
    ["has requests waiting", (table) => table.applySample(2, { ...IDLE, waiting: 1 }, NOW_MS)],
    ["is short of memory", (table) => table.applySample(2, { ...IDLE, kvUsage: 0.96 }, NOW_MS)],
    ["runs many requests", (table) => table.applySample(2, { ...IDLE, running: 6 }, NOW_MS)],
    ["has far less memory", (table) => table.applySample(2, { ...IDLE, kvUsage: 0.6 }, NOW_MS)],
    ["has gone", (table) => table.remove(2)],
  ])("leaves all where the endpoint %s", (_, change) => {
    const table = createTable();
    change(table);
    expect(keptFor(2, { table })).toBeUndefined();
    expect(keptFor(1, { table })).toEqual([1]);
  });

  it("leaves what has been sent where it is, unless moving it gains more than it costs", () => {
    const table = createTable();
    table.dispatched(2, 900, NOW_MS, PROMPT);
    const busyMs = table.columns.prefillBusyUntilMs[2]! - NOW_MS;
    expect(busyMs).toBeGreaterThan(40);
    expect(keptFor(2, { table, slack: sentSlack(busyMs) })).toEqual([2]);
    expect(keptFor(2, { table, slack: sentSlack(busyMs - 26) })).toBeUndefined();
    table.dispatched(2, 1, NOW_MS, { promptTokens: 1, uncachedTokens: 1 });
    expect(keptFor(2, { table, slack: sentSlack(busyMs + 10) })).toBeUndefined();
    const sample = { ...IDLE, running: 20 };
    table.applySample(1, sample, NOW_MS);
    expect(keptFor(1, { table, slack: sentSlack(0) })).toEqual([1]);
    table.applySample(1, { ...sample, running: 21 }, NOW_MS);
    expect(keptFor(1, { table, slack: sentSlack(10_000) })).toBeUndefined();
  });

  it.each([
    [-5, 0],
    [Number.NaN, 0],
    [40, 40],
    [Infinity, 250],
  ])("makes no endpoint better for a round trip that is said to be %s ms", (rttMs, busyMs) => {
    expect(sentSlack(rttMs).busyMs).toBe(busyMs);
  });

  it("takes one that is nearly as well off as the others", () => {
    const table = createTable();
    for (let n = 0; n < ENDPOINTS; n++)
      table.applySample(n, { ...IDLE, running: 20, kvUsage: 0.8 }, NOW_MS);
    table.applySample(2, { ...IDLE, running: 25, kvUsage: 0.89 }, NOW_MS);
    expect(keptFor(2, { table })).toEqual([2]);
  });

  it("leaves all where nothing is known of the endpoint any more", () => {
    const table = createTable();
    table.applySample(2, IDLE, NOW_MS - 2_000);
    expect(keptFor(2, { table })).toBeUndefined();
  });

  it("never spares whoever holds most of a prompt by much", () => {
    const blocks = fc.array(fc.nat(100), { minLength: ENDPOINTS, maxLength: ENDPOINTS });
    fc.assert(
      fc.property(blocks, fc.nat(ENDPOINTS - 1), (held, slot) => {
        const matched = Int32Array.from(held);
        const kept = keptFor(slot, { matched })!;
        const most = Math.max(...held);
        expect(kept).toContain(slot);
        expect(Math.max(...kept.map((each) => held[each]!))).toBeGreaterThanOrEqual(
          most - MORE_BLOCKS,
        );
      }),
    );
  });
});

const PROMPT = { promptTokens: 900, uncachedTokens: 900 };
