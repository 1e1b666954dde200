import { describe, expect, it } from "vitest";
import { FLOWS_TOLD_MAX, OTHER_FLOWS } from "../../../src/scheduler/flow-control/snapshot.ts";
import { createController, drain, NOW_MS, queued } from "../support/flow-control.ts";

describe("a snapshot", () => {
  it("tells the flows that matter most one by one, and the others as one", () => {
    const controller = createController();
    const flows = FLOWS_TOLD_MAX + 5;
    for (let i = 0; i < flows; i++)
      for (let n = 0; n <= i; n++) controller.enqueue(queued({ fairnessId: `f${i}` }), NOW_MS);
    const [band] = controller.snapshot(NOW_MS).bands;
    expect(band!.flowCount).toBe(flows);
    expect(band!.flows).toHaveLength(FLOWS_TOLD_MAX + 1);
    expect(band!.flows[0]).toMatchObject({ fairnessId: "f24", waiting: 25 });
    expect(band!.flows.at(-1)).toEqual({
      fairnessId: OTHER_FLOWS,
      weight: 5,
      waiting: 1 + 2 + 3 + 4 + 5,
      waitingBytes: 15_000,
      inFlight: 0,
      dispatched: 0,
      meanWaitMs: 0,
      tokensLately: 0,
    });
  });

  it("counts the bytes of a flow's requests for as long as they wait", () => {
    const controller = createController();
    for (let i = 0; i < 3; i++) controller.enqueue(queued({ requestId: `r${i}` }), NOW_MS);
    const bytes = () => controller.snapshot(NOW_MS).bands[0]!.flows[0]!.waitingBytes;
    expect(bytes()).toBe(3_000);
    controller.cancel("r1", 0, NOW_MS);
    controller.next(NOW_MS, { saturation: 0 });
    expect(bytes()).toBe(1_000);
  });

  it("puts what all others waited together by how many there were", () => {
    const controller = createController();
    for (let i = 0; i < FLOWS_TOLD_MAX; i++) {
      controller.enqueue(queued({ fairnessId: `busy${i}`, priority: 0 }), NOW_MS);
      controller.enqueue(queued({ fairnessId: `busy${i}`, priority: 0 }), NOW_MS);
    }
    for (const fairnessId of ["x", "x", "x", "y"])
      controller.enqueue(queued({ fairnessId }), NOW_MS);
    for (let n = 0; n < FLOWS_TOLD_MAX + 2; n++) controller.next(NOW_MS + 100, { saturation: 0 });
    drain(controller, NOW_MS + 300);
    const [band] = controller.snapshot(NOW_MS + 300).bands;
    const others = band!.flows.at(-1)!;
    expect(others.fairnessId).toBe(OTHER_FLOWS);
    expect(others.meanWaitMs).toBeGreaterThanOrEqual(100);
    expect(others.meanWaitMs).toBeLessThanOrEqual(300);
  });

  it("tells how fair a band is to those that wait, by weight", () => {
    const controller = createController();
    for (const [fairnessId, weight] of [
      ["a", 1],
      ["b", 3],
    ] as const)
      for (let i = 0; i < 40; i++) controller.enqueue(queued({ fairnessId, weight }), NOW_MS);
    for (let i = 0; i < 40; i++) controller.next(NOW_MS, { saturation: 0 });
    expect(controller.snapshot(NOW_MS).bands[0]!.jainIndex).toBeGreaterThan(0.99);
  });
});
