import { describe, expect, it } from "vitest";
import {
  REPLACED_INCARNATIONS_MAX,
  SummaryOrder,
} from "../../../src/scheduler/pools/summary-order.ts";

describe("SummaryOrder", () => {
  it("takes rising numbers of one incarnation, and none again", () => {
    const order = new SummaryOrder();
    const taken = [3, 3, 2, 4].map((seq) => order.take({ incarnation: "a", seq }));
    expect(taken).toEqual([true, false, false, true]);
  });

  it("begins anew with another incarnation, and is done with the one before", () => {
    const order = new SummaryOrder();
    expect(order.take({ incarnation: "a", seq: 9 })).toBe(true);
    expect(order.take({ incarnation: "b", seq: 1 })).toBe(true);
    expect(order.take({ incarnation: "a", seq: 10 })).toBe(false);
    expect(order.take({ incarnation: "b", seq: 2 })).toBe(true);
  });

  it("remembers a bounded number of incarnations", () => {
    const order = new SummaryOrder();
    for (let i = 0; i <= REPLACED_INCARNATIONS_MAX; i++)
      order.take({ incarnation: `i${i}`, seq: 1 });
    expect(order.take({ incarnation: "i0", seq: 2 })).toBe(false);
    order.take({ incarnation: "last", seq: 1 });
    expect(order.take({ incarnation: "i1", seq: 2 })).toBe(false);
    expect(order.take({ incarnation: "i0", seq: 2 })).toBe(true);
  });
});
