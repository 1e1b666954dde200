// Flows that are served by several objects of one pool: fair over all of them.

import { describe, expect, it } from "vitest";
import type { FlowController } from "../../../src/scheduler/flow-control/flow-controller.ts";
import { ATTAINED_MAX } from "../../../src/scheduler/flow-control/token-counters.ts";
import { TotalsOfAll, TotalsOfOthers } from "../../../src/scheduler/shards/totals.ts";
import { createController, fairnessOf, NOW_MS, queued } from "../support/flow-control.ts";

/** Controllers of one pool, which tell each other what they have served. */
function createPool(count: number, fairness = "weighted-token-fairness") {
  const lead = new TotalsOfAll("lead");
  const controllers = Array.from({ length: count }, () =>
    createController({ band: { fairness: fairnessOf(fairness) } }),
  );
  const others = controllers.map(() => new TotalsOfOthers());
  const exchange = (nowMs = NOW_MS) => {
    for (const [shard, controller] of controllers.entries()) {
      lead.told({ shard, epoch: "e" }, controller.attained(), nowMs);
      const answer = lead.othersOf(shard, true, nowMs);
      controller.servedElsewhere(others[shard]!.heard("lead", answer, nowMs));
    }
  };
  exchange();
  return { controllers, exchange };
}

const enqueue = (controller: FlowController, fairnessId: string, weight = 1) =>
  controller.enqueue(queued({ fairnessId, weight }), NOW_MS);

describe("service of the other objects", () => {
  it.each(["weighted-token-fairness", "locality-fairness"])(
    "counts by %s: a flow that is busy in every object gets no more than one that is in one",
    (fairness) => {
      const { controllers, exchange } = createPool(3, fairness);
      const served: Record<string, number> = { everywhere: 0, here: 0 };
      const [here] = controllers;
      for (const controller of controllers)
        for (let i = 0; i < 3; i++) enqueue(controller, "everywhere");
      for (let i = 0; i < 3; i++) enqueue(here!, "here");
      for (let round = 0; round < 300; round++) {
        for (const controller of controllers) {
          const next = controller.next(NOW_MS, { saturation: 0 })!;
          served[next.fairnessId]! += 1;
          controller.settled(next.requestId, 0, { nowMs: NOW_MS });
          enqueue(controller, next.fairnessId);
        }
        if (round % 10 === 9) exchange();
      }
      // Two objects have nobody else to serve: all of the third one's is the other flow's.
      const quantum = fairness === "locality-fairness" ? 32_768 / 1_200 : 0;
      expect(served["here"]).toBeGreaterThan(300 - 30 - quantum);
    },
  );

  it("counts by the flow's weight, and falls with what was not used", () => {
    const { controllers } = createPool(1);
    enqueue(controllers[0]!, "a", 2);
    const next = controllers[0]!.next(NOW_MS, { saturation: 0 })!;
    expect(controllers[0]!.attained()).toMatchObject([{ key: "0 a", total: (1_000 + 200) / 2 }]);
    const usage = { promptTokens: 1_000, uncachedTokens: 0, outputTokens: 100 };
    controllers[0]!.settled(next.requestId, 0, { nowMs: NOW_MS, usage });
    expect(controllers[0]!.attained()).toMatchObject([{ key: "0 a", total: 200 / 2 }]);
  });

  it("tells of flows that were served last, at most so many", () => {
    const { controllers } = createPool(1);
    for (let i = 0; i <= ATTAINED_MAX; i++) {
      enqueue(controllers[0]!, `f${i}`);
      controllers[0]!.next(NOW_MS, { saturation: 0 });
    }
    const keys = controllers[0]!.attained().map(({ key }) => key);
    expect(keys).toHaveLength(ATTAINED_MAX);
    expect(keys).not.toContain("0 f0");
    expect(keys.at(-1)).toBe(`0 f${ATTAINED_MAX}`);
    // What it was served before may have been told, or not: it begins anew.
    enqueue(controllers[0]!, "f0");
    controllers[0]!.next(NOW_MS, { saturation: 0 });
    expect(controllers[0]!.attained().at(-1)).toMatchObject({ key: "0 f0", total: 1_200 });
    expect(controllers[0]!.attained().at(-1)!.life).toBe(`${ATTAINED_MAX + 2}`);
  });

  it("is nothing to policies that keep no count, and to bands and flows that are not there", () => {
    const { controllers } = createPool(1, "round-robin-fairness-policy");
    enqueue(controllers[0]!, "a");
    controllers[0]!.next(NOW_MS, { saturation: 0 });
    expect(controllers[0]!.attained()).toEqual([]);
    const strange = new Map([
      ["7 a", 5],
      ["0 nobody here", 5],
      ["", 1],
    ]);
    controllers[0]!.servedElsewhere(strange);
    expect(controllers[0]!.snapshot(NOW_MS).bands.map(({ priority }) => priority)).toEqual([0]);
  });
});

describe("leave", () => {
  it("ends a wait without a refusal, and the request may wait again", () => {
    const controller = createController();
    const request = queued();
    controller.enqueue(request, NOW_MS);
    controller.leave(request.requestId, 0, NOW_MS);
    controller.leave("unknown", 0, NOW_MS);
    expect(controller.waitingCount).toBe(0);
    expect(controller.next(NOW_MS, { saturation: 0 })).toBeUndefined();
    controller.enqueue(request, NOW_MS);
    expect(controller.next(NOW_MS, { saturation: 0 })).toBe(request);
  });
});
