import { describe, expect, it } from "vitest";
import { SNAPSHOT_ENDPOINTS_MAX, takeSnapshot } from "../../src/durable/pool-snapshot.ts";
import { EndpointTable } from "../../src/scheduler/model/endpoint-table.ts";

const NOW_MS = 100_000;
const AT = { nowMs: NOW_MS, staleAfterMs: 1_000, start: 0 };
const address = (n: number) => `10.0.0.${n}:8000`;

/** Endpoints with a sample of the given age and waiting requests. */
function tableOf(...endpoints: readonly { ageMs: number; waiting?: number }[]): EndpointTable {
  const table = new EndpointTable();
  endpoints.forEach(({ ageMs, waiting = 0 }, n) => {
    const slot = table.add({ id: `e${n}`, address: address(n), engine: "vllm", labels: {} })!;
    table.applySample(slot, { waiting, running: 1 }, NOW_MS - ageMs);
  });
  return table;
}

describe("a snapshot", () => {
  it("holds the fresh endpoints with their loads", () => {
    const table = tableOf({ ageMs: 0, waiting: 4 }, { ageMs: 5_000 }, { ageMs: 1_000 });
    expect(takeSnapshot(table, AT)).toEqual({ addresses: [address(0), address(2)], loads: [5, 1] });
  });

  it("prefers a stale endpoint to an ejected one, and an ejected one to none", () => {
    const table = tableOf({ ageMs: 0 }, { ageMs: 5_000 });
    table.eject(0, NOW_MS + 1);
    expect(takeSnapshot(table, AT).addresses).toEqual([address(1)]);
    table.eject(1, NOW_MS + 1);
    expect(takeSnapshot(table, AT).addresses).toEqual([address(0)]);
  });

  it("leaves out who does not decode, unless nobody does", () => {
    const table = tableOf({ ageMs: 0 }, { ageMs: 5_000 });
    const label = (n: number, role: string) =>
      table.add({
        id: `e${n}`,
        address: address(n),
        engine: "vllm",
        labels: { "llm-d.ai/role": role },
      });
    label(0, "prefill");
    expect(takeSnapshot(table, AT).addresses).toEqual([address(1)]);
    label(1, "encode-prefill");
    expect(takeSnapshot(table, AT).addresses).toEqual([address(0)]);
    label(1, "prefill-decode");
    expect(takeSnapshot(table, AT).addresses).toEqual([address(1)]);
  });

  it("is a bounded sample of a larger pool, not the same for all", () => {
    const table = tableOf(...Array.from({ length: 200 }, () => ({ ageMs: 0 })));
    const [one, other] = [0, 0.9].map((start) => takeSnapshot(table, { ...AT, start }).addresses);
    expect(new Set(one).size).toBe(SNAPSHOT_ENDPOINTS_MAX);
    expect(new Set(other).size).toBe(SNAPSHOT_ENDPOINTS_MAX);
    expect(other).not.toEqual(one);
  });
});
