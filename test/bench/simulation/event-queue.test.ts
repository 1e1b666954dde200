import fc from "fast-check";
import { expect, it } from "vitest";
import { EventQueue } from "../../../bench/simulation/event-queue.ts";

it("runs events by time, and those of the same time in the order they were added", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 })), (times) => {
      const queue = new EventQueue();
      const ran: { atMs: number; i: number }[] = [];
      times.forEach((atMs, i) => queue.add(atMs, () => ran.push({ atMs: queue.nowMs, i })));
      while (queue.runNext());
      const expected = times.map((atMs, i) => ({ atMs, i })).toSorted((a, b) => a.atMs - b.atMs);
      expect(ran).toEqual(expected);
    }),
  );
});

it("runs what events add", () => {
  const queue = new EventQueue();
  const ran: number[] = [];
  queue.add(5, () => {
    ran.push(queue.nowMs);
    queue.add(7, () => ran.push(queue.nowMs));
    queue.add(5, () => ran.push(queue.nowMs));
  });
  queue.add(6, () => ran.push(queue.nowMs));
  while (queue.runNext());
  expect(ran).toEqual([5, 5, 6, 7]);
  expect(queue.size).toBe(0);
});
