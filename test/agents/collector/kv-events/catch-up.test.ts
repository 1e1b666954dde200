import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Gate } from "../../../../src/agents/collector/kv-events/catch-up.ts";

it("lets so many replays run at a time, in the order in which they were asked for", async () => {
  const gate = new Gate(2);
  const order: number[] = [];
  let inside = 0;
  let insideMost = 0;
  const run = async (index: number) => {
    await gate.enter();
    order.push(index);
    insideMost = Math.max(insideMost, ++inside);
    await sleep(1);
    inside--;
    gate.leave();
  };
  await Promise.all(Array.from({ length: 7 }, (_, i) => run(i)));
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(insideMost).toBe(2);
  // All places are free again.
  await Promise.all([gate.enter(), gate.enter()]);
});
