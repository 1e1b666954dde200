import { expect, it } from "vitest";
import { TouchedSlots } from "../../../src/scheduler/model/touched-slots.ts";

it("tells each slot once, up to all there are, and forgets what it has told", () => {
  const touched = new TouchedSlots(4);
  for (const slot of [2, 0, 2, 0]) touched.add(slot);
  expect([...touched.take()]).toEqual([2, 0]);
  expect([...touched.take()]).toEqual([]);
  for (let n = 0; n < 12; n++) touched.add(n % 4);
  expect([...touched.take()]).toEqual([0, 1, 2, 3]);
});
