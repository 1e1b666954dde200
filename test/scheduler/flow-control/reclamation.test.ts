import { describe, expect, it } from "vitest";
import { InFlight } from "../../../src/scheduler/flow-control/in-flight.ts";
import { CONFIRM_MS, Reclamation } from "../../../src/scheduler/flow-control/reclamation.ts";
import { BandAlone, NOW_MS, queued } from "../support/flow-control.ts";
import { createPlugin } from "../support/plugins.ts";

const HELD = { priority: 5, saturation: 1, ceiling: 1 };

class Scene {
  readonly inFlight = new InFlight({
    filter: createPlugin("sheddable-eviction-filter") as never,
    order: createPlugin("priority-then-time-eviction-order-policy") as never,
  });
  readonly reclamation = new Reclamation();

  constructor(priorities: readonly number[]) {
    const flow = new BandAlone({}).band.flowOf("a");
    for (const [i, priority] of priorities.entries())
      this.inFlight.add(`k${i}`, flow, queued({ priority }), NOW_MS + i);
  }

  victims(held: Partial<typeof HELD> = {}, nowMs = NOW_MS, fresh = 1): string[] {
    const conditions = { lagMs: 100, freshSaturation: () => fresh };
    const found = this.reclamation.victims({ ...HELD, ...held }, this.inFlight, nowMs, conditions);
    return found.map(({ key }) => key);
  }
}

describe("Reclamation", () => {
  it.for([
    { name: "one where just nobody fits", held: {}, want: ["k3"] },
    { name: "as many as the pool is over its ceiling", held: { ceiling: 0.6 }, want: ["k3", "k1"] },
    { name: "two at most", held: { saturation: 9 }, want: ["k3", "k1"] },
    { name: "nobody for a band that is closed", held: { ceiling: 0 }, want: [] },
    { name: "nobody of the same priority", held: { priority: -2 }, want: [] },
    { name: "only those of a lower one", held: { priority: -1, saturation: 9 }, want: ["k3"] },
  ])("ends $name", ({ held, want }) => {
    expect(new Scene([0, -1, 1, -2]).victims(held)).toEqual(want);
  });

  it.for([
    { name: "nobody while fresh samples show room", held: {}, fresh: 0.99, want: [] },
    { name: "nobody while there is no fresh sample", held: { saturation: 9 }, fresh: 0, want: [] },
    { name: "nobody for what is no number", held: {}, fresh: Number.NaN, want: [] },
    { name: "somebody by the ceiling", held: { ceiling: 0.6 }, fresh: 0.6, want: ["k3", "k1"] },
    {
      name: "one where no more can be tracked",
      held: { saturation: Infinity },
      fresh: 0,
      want: ["k3"],
    },
  ])("ends $name", ({ held, fresh, want }) => {
    expect(new Scene([0, -1, 1, -2]).victims(held, NOW_MS, fresh)).toEqual(want);
  });

  it("looks at the pool's samples only where somebody is to be ended", () => {
    const scene = new Scene([-1, 0]);
    let looks = 0;
    const victims = () =>
      scene.reclamation.victims(HELD, scene.inFlight, NOW_MS, {
        lagMs: 0,
        freshSaturation: () => ++looks,
      });
    expect([victims().length, victims().length, looks]).toEqual([1, 0, 1]);
    scene.reclamation.ended("k0", NOW_MS);
    expect([victims().length, looks]).toEqual([0, 1]);
  });

  it("waits for the ends it has asked for, and then for the detector to see them", () => {
    const scene = new Scene([-1, -1, -1, -1]);
    expect(scene.victims({ saturation: 9 })).toEqual(["k3", "k2"]);
    expect(scene.victims()).toEqual([]);
    scene.reclamation.ended("k3", NOW_MS + 10);
    expect(scene.victims({}, NOW_MS + 2_000)).toEqual([]);
    scene.reclamation.ended("k2", NOW_MS + 3_000);
    expect(scene.victims({}, NOW_MS + 3_099)).toEqual([]);
    expect(scene.victims({}, NOW_MS + 3_100)).toEqual(["k1"]);
  });

  it("goes on after a while if an end is never told", () => {
    const scene = new Scene([-1, -1]);
    expect(scene.victims()).toEqual(["k1"]);
    expect(scene.victims({}, NOW_MS + CONFIRM_MS)).toEqual([]);
    expect(scene.victims({}, NOW_MS + CONFIRM_MS + 100)).toEqual(["k0"]);
  });

  it("asks for another at once where one had begun to answer after all", () => {
    const scene = new Scene([-1, -1]);
    expect(scene.victims()).toEqual(["k1"]);
    scene.reclamation.spared("k1");
    expect(scene.victims()).toEqual(["k0"]);
  });

  it("asks nobody twice", () => {
    const scene = new Scene([-1]);
    expect(scene.victims()).toEqual(["k0"]);
    scene.victims({}, NOW_MS + CONFIRM_MS);
    expect(scene.victims({}, NOW_MS + 2 * CONFIRM_MS)).toEqual([]);
  });
});
