// What a queue keeps when its rules change, and whom it ends when nobody sees the pool.

import { expect, it } from "vitest";
import { pickOf, QueueModel, queueSettings, settle } from "./queue-model.ts";

/** The turns to come, as who was let through last ends. */
async function serve(model: QueueModel, count: number): Promise<string[]> {
  const from = model.dispatched.length;
  for (let i = 0; i < count; i++) {
    model.complete(model.dispatched.at(-1)!);
    await settle();
  }
  return model.dispatched.slice(from);
}

it("holds what a flow was given against it under other rules, too", async () => {
  const model = new QueueModel({ flowControl: { defaultRequestTTL: "0s" } });
  const pick = (requestId: string, fairnessId: string, promptTokens = 10) => {
    const made = pickOf(requestId, model.nowMs, { fairnessId });
    model.pick({ ...made, request: { ...made.request, promptTokens } });
  };
  pick("fill", "greedy");
  pick("huge", "greedy", 50_000);
  for (let i = 0; i < 5; i++) {
    pick(`greedy-${i}`, "greedy");
    pick(`modest-${i}`, "modest");
  }
  expect(await serve(model, 1)).toEqual(["huge"]);
  model.capacity = 2;
  model.reconfigure({ defaultRequestTTL: "0s" });
  const served = await serve(model, 4);
  expect(served.every((id) => id.startsWith("modest"))).toBe(true);
});

it("ends nobody for who waits behind a pool that nobody sees", async () => {
  const model = new QueueModel();
  const flowControl = { enableEviction: true, defaultRequestTTL: "0s" };
  let isBlind = true;
  model.queue.configure({
    ...queueSettings(() => 0, flowControl),
    detector: {
      saturation: () => model.inFlight.size / 4,
      staleCount: ({ candidateCount }) => (isBlind ? candidateCount : 0),
      lagMs: () => 0,
    },
  });
  for (let i = 0; i < 4; i++) model.pick(pickOf(`low${i}`, model.nowMs, { priority: -1 }));
  model.pick(pickOf("high", model.nowMs));
  await model.pass(1_000);
  expect([model.inFlight.size, model.evicted.length]).toEqual([4, 0]);
  isBlind = false;
  await model.pass(1_000);
  expect([model.inFlight.size, model.evicted.length]).toEqual([4, 1]);
});
