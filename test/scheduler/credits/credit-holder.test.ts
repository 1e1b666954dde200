import { describe, expect, it } from "vitest";
import { CreditHolder } from "../../../src/scheduler/credits/credit-holder.ts";

const SCOPE = "pool/a";
const TTL_MS = 1_000;

function holder(): CreditHolder {
  return new CreditHolder({ scope: SCOPE, id: "h", wantMin: 2, wantMax: 50 });
}

function grant(limit: number, seq = 1, epoch = "e1") {
  return { scope: SCOPE, epoch, seq, limit, ttlMs: TTL_MS };
}

describe("CreditHolder", () => {
  it("has nothing before it is granted something", () => {
    const credit = holder();
    expect(credit.ask(5)).toEqual({ scope: SCOPE, holder: "h.0", epoch: "", spent: 0, want: 2 });
    expect(credit.available(5)).toBe(0);
    expect(credit.trySpend(1, 5)).toBe(false);
  });

  it("spends what it was granted, from the moment of asking on", () => {
    const credit = holder();
    credit.ask(1_000);
    credit.granted(grant(10), 1_000);
    expect(credit.trySpend(6, 1_500)).toBe(true);
    expect(credit.trySpend(5, 1_500)).toBe(false);
    expect(credit.available(1_999)).toBe(4);
    expect(credit.available(2_000)).toBe(0);
    expect(credit.trySpend(1, 2_000)).toBe(false);
    expect(credit.spent).toBe(6);
  });

  it("tells what it has spent in all, without what the issuer cannot know of yet", () => {
    const credit = holder();
    credit.granted(grant(10), 1_000);
    credit.trySpend(6, 1_100);
    expect(credit.ask(1_200)).toMatchObject({ epoch: "e1", spent: 6 });
    expect(credit.ask(1_200, 4)).toMatchObject({ spent: 2 });
    expect(credit.ask(1_200, 400)).toMatchObject({ spent: 0 });
  });

  it("goes by the newest grant, whichever comes last", () => {
    const credit = holder();
    credit.granted(grant(10, 2), 1_000);
    credit.granted(grant(20, 1), 1_100);
    expect(credit.available(1_200)).toBe(10);
    credit.granted(grant(4, 3), 1_000);
    expect(credit.available(1_200)).toBe(4);
    credit.granted({ ...grant(40, 9), scope: "pool/b" }, 1_000);
    expect(credit.available(1_200)).toBe(4);
  });

  it("says which grant it goes by, unless more is untold than that one allows", () => {
    const credit = holder();
    credit.granted(grant(10, 3), 1_000);
    credit.trySpend(6, 1_100);
    expect(credit.ask(1_200, 6).taken).toBe(3);
    credit.granted(grant(4, 5), 1_200);
    expect(credit.ask(1_300).taken).toBe(5);
    expect(credit.ask(1_300, 1).taken).toBeUndefined();
    credit.granted(grant(8, 6), 1_300);
    expect(credit.ask(1_400, 1).taken).toBe(6);
    credit.granted(grant(9, 4), 1_400);
    expect(credit.ask(1_500, 1).taken).toBe(6);
  });

  it("begins anew under another name when the issuer has, and takes no answer to an earlier ask", () => {
    const credit = holder();
    credit.ask(1_000);
    credit.granted(grant(10), 1_000);
    credit.trySpend(3, 1_000);
    credit.ask(1_100);
    credit.granted(grant(10, 1, "e2"), 1_050);
    expect(credit.available(1_100)).toBe(0);
    expect(credit.epoch).toBe("");
    credit.granted(grant(10, 2, "e2"), 1_100);
    expect(credit.available(1_100)).toBe(0);
    expect(credit.ask(1_200)).toMatchObject({ holder: "h.1", epoch: "", spent: 0 });
    credit.granted(grant(10, 3, "e2"), 1_200);
    expect(credit.available(1_200)).toBe(10);
  });

  it("wants what comes in one life of a grant, refused or not, within its bounds", () => {
    const credit = holder();
    credit.granted(grant(20), 0);
    for (let nowMs = 0; nowMs < 10_000; nowMs += 100) credit.trySpend(2, nowMs);
    const { want } = credit.ask(10_000);
    // 20 tokens a second, for a second.
    expect(want).toBeGreaterThan(16);
    expect(want).toBeLessThan(24);
    credit.trySpend(1_000, 10_000);
    expect(credit.ask(10_000).want).toBe(50);
    expect(credit.ask(60_000).want).toBe(2);
  });
});
