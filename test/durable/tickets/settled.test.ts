import { expect, it } from "vitest";
import { SETTLED_ROWS_MAX } from "../../../src/durable/pool-storage.ts";
import { SettledTickets } from "../../../src/durable/tickets/settled.ts";

it("knows what was added and what is stored, and gives each to the store once", () => {
  const settled = new SettledTickets((ticket) => ticket === "stored");
  settled.add("a");
  settled.add("a");
  expect([settled.has("a"), settled.has("stored"), settled.has("b")]).toEqual([true, true, false]);
  expect(settled.take()).toEqual(["a"]);
  expect(settled.take()).toEqual([]);
});

it("holds no more than the store keeps, and forgets the oldest", () => {
  const settled = new SettledTickets(() => false);
  for (let i = 0; i <= SETTLED_ROWS_MAX; i++) settled.add(`t${i}`);
  expect([settled.has("t0"), settled.has("t1")]).toEqual([false, true]);
  expect(settled.take()).toHaveLength(SETTLED_ROWS_MAX);
});
