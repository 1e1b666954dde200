import { describe, expect, it } from "vitest";
import { BlockTable } from "../../../src/scheduler/kv/block-table.ts";
import { RecentEntries } from "../../../src/scheduler/kv/recent-entries.ts";

function tableOf(entries: number): BlockTable {
  const table = new BlockTable(1024 * 1024);
  for (let n = 0; n < entries; n++) table.setPayload(table.add(n, n), 1);
  return table;
}

describe("RecentEntries", () => {
  it("takes entries in turn, and passes those that were met once", () => {
    const recent = new RecentEntries(tableOf(4));
    recent.met(1);
    const taken = Array.from({ length: 5 }, () => recent.takeColdest());
    expect(taken).toEqual([0, 2, 3, 0, 1]);
  });

  it("passes entries that are nobody's, and forgets what another block met", () => {
    const table = tableOf(4);
    const recent = new RecentEntries(table);
    recent.met(2);
    table.remove(1);
    recent.forget(2);
    expect([recent.takeColdest(), recent.takeColdest()]).toEqual([0, 2]);
  });

  it("looks at no more than 64 that were met lately", () => {
    const recent = new RecentEntries(tableOf(100));
    for (let id = 0; id < 100; id++) recent.met(id);
    expect(recent.takeColdest()).toBe(63);
  });
});
