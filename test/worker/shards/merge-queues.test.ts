import { describe, expect, it } from "vitest";
import type { QueueState } from "../../../src/durable/state.ts";
import {
  FLOWS_TOLD_MAX,
  type FlowSnapshot,
  OTHER_FLOWS,
} from "../../../src/scheduler/flow-control/snapshot.ts";
import { mergeQueues } from "../../../src/worker/shards/merge-queues.ts";

type Band = QueueState["bands"][number];

function flow(fairnessId: string, fields: Partial<FlowSnapshot> = {}): FlowSnapshot {
  return {
    fairnessId,
    weight: 1,
    waiting: 1,
    waitingBytes: 100,
    inFlight: 1,
    dispatched: 10,
    meanWaitMs: 20,
    tokensLately: 1_000,
    ...fields,
  };
}

function band(priority: number, fields: Partial<Band> = {}): Band {
  return {
    priority,
    ceiling: 0.9,
    waiting: { requests: 1, bytes: 100, tokens: 10 },
    limits: { requests: 50 },
    oldestWaitMs: 30,
    enqueued: 12,
    dispatched: 10,
    waitSumMs: 200,
    waitMaxMs: 40,
    dropped: {},
    drainPerSecond: 3,
    jainIndex: 1,
    flowCount: 1,
    flows: [flow("acme")],
    ...fields,
  };
}

function queue(fields: Partial<QueueState> = {}): QueueState {
  return {
    saturation: 1,
    hasEndpoints: true,
    waiting: { requests: 1, bytes: 100, tokens: 10 },
    limits: { requests: 50, bytes: 1_000 },
    inFlight: 4,
    revocations: { issued: 3, ended: 2, spared: 1, untold: 0 },
    bands: [band(0)],
    openWaits: 1,
    places: 0,
    staleEndpoints: 1,
    ...fields,
  };
}

describe("queues of a pool's objects", () => {
  it("are one object's where there is one", () => {
    const one = queue();
    expect(mergeQueues([one])).toBe(one);
  });

  it("add up, with the room that there is", () => {
    const merged = mergeQueues([
      queue(),
      queue({ saturation: 0.5, limits: { requests: 50 }, staleEndpoints: 3, detector: "d" }),
    ]);
    expect(merged).toMatchObject({
      saturation: 0.75,
      waiting: { requests: 2, bytes: 200, tokens: 20 },
      limits: { requests: 100 },
      inFlight: 8,
      revocations: { issued: 6, ended: 4, spared: 2, untold: 0 },
      openWaits: 2,
      staleEndpoints: 3,
      detector: "d",
    });
    // One of them has no bound: neither has the pool.
    expect(merged.limits).not.toHaveProperty("bytes");
  });

  it("have each band once, the highest first", () => {
    const merged = mergeQueues([
      queue({ bands: [band(0, { ceiling: null, dropped: { "rejected-saturated": 2 } })] }),
      queue({
        bands: [
          band(5),
          band(0, { oldestWaitMs: 90, waitMaxMs: 95, dropped: { "rejected-saturated": 1 } }),
        ],
      }),
    ]);
    expect(merged.bands.map(({ priority }) => priority)).toEqual([5, 0]);
    expect(merged.bands[1]).toMatchObject({
      ceiling: 0.9,
      waiting: { requests: 2 },
      limits: { requests: 100 },
      oldestWaitMs: 90,
      dispatched: 20,
      waitSumMs: 400,
      waitMaxMs: 95,
      dropped: { "rejected-saturated": 3 },
      drainPerSecond: 6,
      flowCount: 1,
    });
  });

  it("have each flow once, and are as fair as all of them together", () => {
    const [first] = mergeQueues([
      queue({ bands: [band(0, { flows: [flow("a", { tokensLately: 3_000 }), flow("b")] })] }),
      queue({
        bands: [
          band(0, { flows: [flow("b", { tokensLately: 2_000, meanWaitMs: 50, dispatched: 30 })] }),
        ],
      }),
    ]).bands;
    expect(first!.flows).toMatchObject([
      { fairnessId: "b", weight: 1, waiting: 2, dispatched: 40, meanWaitMs: 42.5 },
      { fairnessId: "a", waiting: 1, tokensLately: 3_000 },
    ]);
    expect(first).toMatchObject({ flowCount: 2, jainIndex: 1 });
  });

  it("tell few flows one by one, and the rest as one", () => {
    const flows = Array.from({ length: FLOWS_TOLD_MAX }, (_, i) => flow(`f${i}`, { waiting: 2 }));
    const others = flow(OTHER_FLOWS, { waiting: 7, weight: 9 });
    const [first] = mergeQueues([
      queue({ bands: [band(0, { flows: [...flows, others], jainIndex: 0.6, flowCount: 29 })] }),
      queue({ bands: [band(0, { flows: [flow("late")], jainIndex: 0.9 })] }),
    ]).bands;
    expect(first!.flows).toHaveLength(FLOWS_TOLD_MAX + 1);
    expect(first!.flows.at(-1)).toMatchObject({ fairnessId: OTHER_FLOWS, waiting: 8, weight: 10 });
    expect(first).toMatchObject({ flowCount: 29, jainIndex: 0.6 });
  });

  it("have endpoints where any object has, and the mean of stages", () => {
    const merged = mergeQueues([
      queue({ hasEndpoints: false, stages: { prefill: 1 } }),
      queue({ stages: { prefill: 0.5, decode: 0.2 } }),
    ]);
    expect(merged).toMatchObject({ hasEndpoints: true, stages: { prefill: 0.75, decode: 0.2 } });
  });
});
