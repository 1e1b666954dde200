import { describe, expect, it } from "vitest";
import { SUMMARY_INTERVAL_MS } from "../../../src/scheduler/pools/summary.ts";
import {
  INCARNATION_LEASE_MS,
  REPLACED_INCARNATIONS_MAX,
  SummaryOrder,
} from "../../../src/scheduler/pools/summary-order.ts";

const NOW_MS = 1_000_000;

describe("SummaryOrder", () => {
  it("takes rising numbers of one incarnation, and none again", () => {
    const order = new SummaryOrder();
    const taken = [3, 3, 2, 4].map((seq) => order.take({ incarnation: "a", seq }, NOW_MS));
    expect(taken).toEqual([true, false, false, true]);
  });

  it("begins anew with another incarnation, and is done with the one before", () => {
    const order = new SummaryOrder();
    expect(order.take({ incarnation: "a", seq: 9 }, NOW_MS)).toBe(true);
    expect(order.take({ incarnation: "b", seq: 1 }, NOW_MS)).toBe(true);
    expect(order.take({ incarnation: "a", seq: 10 }, NOW_MS)).toBe(false);
    expect(order.take({ incarnation: "b", seq: 2 }, NOW_MS)).toBe(true);
  });

  it("remembers a bounded number of incarnations", () => {
    const order = new SummaryOrder();
    for (let i = 0; i <= REPLACED_INCARNATIONS_MAX; i++)
      order.take({ incarnation: `i${i}`, seq: 1 }, NOW_MS);
    expect(order.take({ incarnation: "i0", seq: 2 }, NOW_MS)).toBe(false);
    order.take({ incarnation: "last", seq: 1 }, NOW_MS);
    expect(order.take({ incarnation: "i1", seq: 2 }, NOW_MS)).toBe(false);
    expect(order.take({ incarnation: "i0", seq: 2 }, NOW_MS)).toBe(true);
  });

  it("takes one back that goes on when the one that replaced it has fallen silent", () => {
    const order = new SummaryOrder();
    const heard = (incarnation: string, seq: number, afterMs: number) =>
      order.take({ incarnation, seq }, NOW_MS + afterMs);
    heard("a", 9, 0);
    heard("b", 1, 100);
    heard("b", 2, 1_000);
    expect(heard("a", 10, 999 + INCARNATION_LEASE_MS)).toBe(false);
    // What it had said before is no sign of life.
    expect(heard("a", 9, 1_000 + INCARNATION_LEASE_MS)).toBe(false);
    expect(heard("a", 11, 1_000 + INCARNATION_LEASE_MS)).toBe(true);
    expect(heard("b", 3, 1_100 + INCARNATION_LEASE_MS)).toBe(false);
    expect(heard("a", 12, 1_200 + INCARNATION_LEASE_MS)).toBe(true);
  });

  it("comes back to the one that talks, whatever a call that hung brought", () => {
    const order = new SummaryOrder();
    order.take({ incarnation: "live", seq: 1 }, NOW_MS);
    // A new directory hears the old object's last call after the new one's first.
    order.take({ incarnation: "gone", seq: 900 }, NOW_MS + 10);
    const taken = [1, 2, 3, 4].map((second) =>
      order.take({ incarnation: "live", seq: 1 + second }, NOW_MS + second * SUMMARY_INTERVAL_MS),
    );
    expect(taken).toEqual([false, false, false, true]);
  });
});
