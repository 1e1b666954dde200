import { describe, expect, it } from "vitest";
import {
  ENDPOINTS_MAX,
  EndpointTable,
  KV_CAPACITY_TOKENS_MAX,
} from "../../../src/scheduler/model/endpoint-table.ts";

function endpoint(n: number, address = `10.0.0.1:${n}`) {
  return { id: `default/e${n}`, address, engine: "vllm", labels: {} };
}

describe("EndpointTable", () => {
  it("finds an endpoint by id, address and slot", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    expect(table.slotOf("default/e1")).toBe(slot);
    expect(table.slotOfAddress("10.0.0.1:1")).toBe(slot);
    expect(table.endpoint(slot)).toEqual(endpoint(1));
    expect([table.slotOf("x"), table.slotOfAddress("x"), table.endpoint(9)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("keeps the slot of an endpoint that is added again, with its new address", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1));
    expect(table.add(endpoint(1, "10.0.0.2:1"))).toBe(slot);
    expect(table.slotOfAddress("10.0.0.1:1")).toBeUndefined();
    expect(table.slotOfAddress("10.0.0.2:1")).toBe(slot);
    expect(table.size).toBe(1);
  });

  it("refuses an address that another endpoint has", () => {
    const table = new EndpointTable();
    table.add(endpoint(1));
    expect(table.add(endpoint(2, "10.0.0.1:1"))).toBeUndefined();
    expect(table.size).toBe(1);
  });

  it("takes as many endpoints as it has slots, and no more", () => {
    const table = new EndpointTable();
    for (let n = 0; n < ENDPOINTS_MAX; n++) expect(table.add(endpoint(n))).toBe(n);
    expect(table.add(endpoint(ENDPOINTS_MAX))).toBeUndefined();
    table.remove(17);
    expect(table.add(endpoint(ENDPOINTS_MAX))).toBe(17);
    expect(table.columns.slotCount).toBe(ENDPOINTS_MAX);
  });

  it("gives a reused slot nothing of its predecessor", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(
      slot,
      { waiting: 3, running: 4, kvUsage: 0.5, kvBlockSize: 16, kvBlocks: 9 },
      5,
    );
    table.dispatched(slot, 100, 5);
    table.remove(slot);
    expect([...table.slots()]).toEqual([]);
    expect(table.columns.isPresent[slot]).toBe(0);
    expect(table.add(endpoint(2))).toBe(slot);
    const { columns } = table;
    expect([columns.queueDepth[slot], columns.runningRequests[slot]]).toEqual([0, 0]);
    expect([columns.inFlightRequests[slot], columns.inFlightTokens[slot]]).toEqual([0, 0]);
    expect([columns.kvCapacityTokens[slot], columns.sampledAtMs[slot]]).toEqual([0, -Infinity]);
    table.applySample(slot, { kvBlocks: 9 }, 6);
    expect(columns.kvCapacityTokens[slot]).toBe(0);
  });

  it("applies a sample, and keeps what a later one leaves out", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(
      slot,
      { waiting: 3, running: 4, kvUsage: 0.5, kvBlockSize: 16, kvBlocks: 100 },
      1_000,
    );
    table.applySample(slot, { waiting: 2, running: 5 }, 1_200);
    const { columns } = table;
    expect([columns.queueDepth[slot], columns.runningRequests[slot]]).toEqual([2, 5]);
    expect([columns.kvUsage[slot], columns.kvCapacityTokens[slot]]).toEqual([0.5, 1_600]);
    expect(columns.sampledAtMs[slot]).toBe(1_200);
  });

  it("does not let an endpoint look idle whose queue was never reported", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    expect(table.columns.kvUsage[slot]).toBe(1);
    table.applySample(slot, { running: 2 }, 1_000);
    expect(table.columns.sampledAtMs[slot]).toBe(-Infinity);
    table.applySample(slot, { waiting: 0 }, 1_200);
    expect(table.columns.sampledAtMs[slot]).toBe(1_200);
  });

  it("takes a sample without the queue's length for no newer one", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.defineScalars(["gpu"]);
    table.applySample(slot, { waiting: 3, running: 1 }, 1_000);
    table.dispatched(slot, 10, 1_500);
    const { columns } = table;
    for (const sample of [{ running: 2 }, { scalars: new Map([["gpu", 0.5]]) }, { waiting: NaN }]) {
      table.applySample(slot, sample, 2_000);
      expect([columns.queueDepth[slot], columns.sampledAtMs[slot]]).toEqual([4, 1_000]);
    }
    expect([columns.runningRequests[slot], columns.scalar("gpu")![slot]]).toEqual([2, 0.5]);
  });

  it.for([
    [2 ** 20, 2 ** 20, KV_CAPACITY_TOKENS_MAX],
    [2 ** 20, 2 ** 20 + 1, 0],
    [1e200, 1e200, 0],
    [0, 1e308, 0],
  ] as const)(
    "takes %d blocks of %d tokens for a cache of %d",
    ([kvBlocks, kvBlockSize, tokens]) => {
      const table = new EndpointTable();
      const slot = table.add(endpoint(1))!;
      table.applySample(slot, { waiting: 0, kvBlocks, kvBlockSize }, 1);
      expect(table.columns.kvCapacityTokens[slot]).toBe(tokens);
    },
  );

  it("bounds what an engine reports, and takes NaN and infinity as not said", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 1e12, running: -4, kvUsage: 1.7 }, 0);
    const { columns } = table;
    expect(columns.queueDepth[slot]).toBe(0x7fff_ffff);
    expect([columns.runningRequests[slot], columns.kvUsage[slot]]).toEqual([0, 1]);
    table.dispatched(slot, 1, 0);
    expect(columns.queueDepth[slot]).toBe(0x7fff_ffff);
    table.applySample(slot, { waiting: 6, kvUsage: 0.25 }, 1_000);
    table.applySample(
      slot,
      { waiting: NaN, kvUsage: NaN, kvBlockSize: NaN, kvBlocks: Infinity },
      1_001,
    );
    expect([columns.queueDepth[slot], columns.kvUsage[slot]]).toEqual([6, 0.25]);
    expect(columns.kvCapacityTokens[slot]).toBe(0);
  });

  it("adds dispatches to the reported queue until the next sample", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 2 }, 0);
    table.dispatched(slot, 500, 20);
    table.dispatched(slot, 300, 30);
    const { columns } = table;
    expect(columns.queueDepth[slot]).toBe(4);
    expect([columns.inFlightRequests[slot], columns.inFlightTokens[slot]]).toEqual([2, 800]);
    table.released(slot, 500, 20);
    expect(columns.queueDepth[slot]).toBe(3);
    expect([columns.inFlightRequests[slot], columns.inFlightTokens[slot]]).toEqual([1, 300]);
    table.applySample(slot, { waiting: 2 }, 500);
    expect(columns.queueDepth[slot]).toBe(2);
    // The sample has shown it: what it said of the queue stays until the next.
    table.released(slot, 300, 30);
    expect(columns.queueDepth[slot]).toBe(2);
    table.dispatched(slot, 100, 600);
    expect(columns.queueDepth[slot]).toBe(3);
  });

  it("keeps counting what was dispatched while the sample was under way", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 0 }, 9_000);
    for (const nowMs of [10_000, 10_400, 10_500]) table.dispatched(slot, 1, nowMs);
    // Scraped at 10,300: the engine knew of the first request only.
    table.applySample(slot, { waiting: 1 }, 10_300);
    expect(table.columns.queueDepth[slot]).toBe(3);
    table.applySample(slot, { waiting: 3 }, 11_000);
    expect(table.columns.queueDepth[slot]).toBe(3);
  });

  it("never counts below zero", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.released(slot, 10, 0);
    expect([table.columns.inFlightRequests[slot], table.columns.inFlightTokens[slot]]).toEqual([
      0, 0,
    ]);
  });
});

describe("work and speed", () => {
  const PROMPT = { promptTokens: 6_000, uncachedTokens: 4_000 };

  it("tells a request what is ahead of it, and whether its memory is free", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 0, kvUsage: 0.5, kvBlockSize: 16, kvBlocks: 1_000 }, 0);
    expect(table.dispatched(slot, 5_000, 1_000, PROMPT)).toMatchObject({
      aheadTokens: 0,
      isHeld: false,
    });
    // 4,000 tokens at a tenth of a millisecond, of which 100 ms have passed.
    expect(table.dispatched(slot, 5_000, 1_100, PROMPT)).toMatchObject({
      aheadTokens: 3_000,
      isHeld: true,
    });
    table.takenBack(slot, 4_000, 1_100);
    expect(table.columns.prefillBusyUntilMs[slot]).toBe(1_400);
  });

  it("tells a request how much of that is known from other objects alone", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.dispatched(slot, 5_000, 1_000, PROMPT);
    // Half a second of it is taken to have drained since.
    table.workedElsewhere(slot, 7_000, 1_000);
    const { aheadTokens, heardTokens } = table.dispatched(slot, 5_000, 1_100, PROMPT);
    // Taken to be the first that is computed.
    expect([aheadTokens, heardTokens]).toEqual([5_000, 1_000]);
    expect(table.dispatched(slot, 5_000, 1_200, PROMPT).heardTokens).toBe(0);
  });

  it("begins with what the pool has learned", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.completed(slot, { ttftMs: 4_040, decodeMs: 700, workTokens: 4_000, isHeld: false });
    const other = table.add(endpoint(2))!;
    const { prefillMsPerToken, serviceMs } = table.columns;
    expect(prefillMsPerToken[other]).toBe(prefillMsPerToken[slot]);
    expect(serviceMs[other]).toBe(700);
    table.dispatched(slot, 10, 5, PROMPT);
    table.remove(slot);
    expect(table.add(endpoint(3))).toBe(slot);
    expect(table.columns.prefillBusyUntilMs[slot]).toBe(0);
  });
});

describe("LoRA and scalars", () => {
  it("are an endpoint's own and leave with it", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.defineScalars(["gpu"]);
    table.applyAdapters(slot, { active: ["sql"], waiting: [], maxActive: 4 });
    table.applySample(slot, { waiting: 0, scalars: new Map([["gpu", 0.25]]) }, 1);
    expect(table.columns.adapters.stateOf(slot, "sql")).toBe("active");
    expect(table.columns.loraMax[slot]).toBe(4);
    expect(table.columns.scalar("gpu")![slot]).toBe(0.25);
    expect(table.columns.scalar("other")).toBeUndefined();
    table.remove(slot);
    expect(table.add(endpoint(2))).toBe(slot);
    expect(table.columns.adapters.stateOf(slot, "sql")).toBe("absent");
    expect(table.columns.loraMax[slot]).toBe(0);
    expect(table.columns.scalar("gpu")![slot]).toBeNaN();
  });
});

describe("a partial sample", () => {
  it("brings its values and does not make the endpoint look fresh", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 2, kvUsage: 0.5 }, 1_000);
    table.dispatched(slot, 10, 1_100);
    table.applySample(slot, { waiting: 3, isPartial: true }, 5_000);
    expect(table.columns.queueDepth[slot]).toBe(4);
    expect(table.columns.sampledAtMs[slot]).toBe(1_000);
    table.applySample(slot, { waiting: 3 }, 6_000);
    expect(table.columns.queueDepth[slot]).toBe(3);
    expect(table.columns.sampledAtMs[slot]).toBe(6_000);
  });
});

describe("the start of an engine's process", () => {
  it("says that it was restarted, once, and only when it is later", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    const restarted = (processStartS: number) =>
      table.applySample(slot, { waiting: 0, processStartS }, 1);
    expect([100, 100.5, 101, 102, 102, 100, 102, NaN, 0].map(restarted)).toEqual([
      false,
      false,
      false,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    table.remove(slot);
    table.add(endpoint(2));
    expect(restarted(900)).toBe(false);
  });

  it("that lies ahead hides no later one", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    const nowMs = 1_800_000_000_000;
    const restarted = (aheadS: number) =>
      table.applySample(slot, { waiting: 0, processStartS: nowMs / 1_000 + aheadS }, nowMs);
    expect([-100, 1e9, 86_401, 1e300, -50, 86_400].map(restarted)).toEqual([
      false,
      false,
      false,
      false,
      true,
      true,
    ]);
  });

  it("ends what was known of its load: a process that does not tell its queue is not idle", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    const loads = { waiting: 3, running: 4, kvUsage: 0.5, kvBlockSize: 16, kvBlocks: 10 };
    table.applySample(slot, { ...loads, processStartS: 100 }, 1);
    table.dispatched(slot, 10, 2);
    table.applySample(slot, { running: 1, kvBlocks: 20, processStartS: 200 }, 3);
    const { columns } = table;
    expect([columns.sampledAtMs[slot], columns.queueDepth[slot]]).toEqual([-Infinity, 1]);
    expect([columns.runningRequests[slot], columns.kvUsage[slot]]).toEqual([1, 1]);
    expect(columns.kvCapacityTokens[slot]).toBe(0);
    table.applySample(slot, { waiting: 2, processStartS: 200 }, 1_000);
    expect([columns.sampledAtMs[slot], columns.queueDepth[slot]]).toEqual([1_000, 2]);
  });

  it("ends what was known of its adapters", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 0, processStartS: 100 }, 1);
    table.applyAdapters(slot, { active: ["sql"], waiting: [], maxActive: 4 });
    table.applySample(slot, { waiting: 0, processStartS: 200 }, 2);
    expect(table.columns.adapters.stateOf(slot, "sql")).toBe("absent");
  });
});

describe("an endpoint that nobody samples, by design", () => {
  it("is as young as can be, and its queue is what was sent there and has not ended", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.goUnsampled(slot);
    expect(table.columns.sampledAtMs[slot]).toBe(Infinity);
    const { atMs } = table.dispatched(slot, 10, 1_000);
    table.dispatched(slot, 10, 90_000);
    expect(table.columns.queueDepth[slot]).toBe(2);
    table.released(slot, 10, atMs);
    expect(table.columns.queueDepth[slot]).toBe(1);
  });

  it("is like any other once it is sampled after all, or is another", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.goUnsampled(slot);
    table.applySample(slot, { waiting: 3 }, 5_000);
    expect(table.columns.sampledAtMs[slot]).toBe(5_000);
    table.goUnsampled(slot);
    table.remove(slot);
    expect(table.columns.sampledAtMs[table.add(endpoint(2))!]).toBe(-Infinity);
  });
});

describe("an endpoint whose loads are means over several engines", () => {
  it("grows by a part of each request that is sent there", () => {
    const table = new EndpointTable();
    const slot = table.add(endpoint(1))!;
    table.applySample(slot, { waiting: 2, replicas: 4 }, 1_000);
    for (let sent = 0; sent < 7; sent++) table.dispatched(slot, 10, 5_000);
    expect(table.columns.queueDepth[slot]).toBe(3);
    table.applySample(slot, { waiting: 2 }, 1_500);
    expect(table.columns.queueDepth[slot]).toBe(9);
  });
});
