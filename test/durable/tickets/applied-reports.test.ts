import { describe, expect, it } from "vitest";
import { AppliedReports, REPORTERS_MAX } from "../../../src/durable/tickets/applied-reports.ts";

const RELAY = { agent: "relay-0", epoch: "e1" };
const apply = (skipCount: number) => ({ ok: true, skipCount });
const GAP = { ok: false, why: "gap" };

function create(stored: { seq: number; report: number } = { seq: 0, report: 0 }) {
  const reports = new AppliedReports(() => stored);
  let seq = 0;
  return {
    reports,
    /** A frame with the reports `first` to `last`, of a relay that holds `oldest` and later ones. */
    take: (oldest: number, first: number, last: number, relay = RELAY) =>
      reports.take(relay, ++seq, { oldest, first, count: last - first + 1 }),
  };
}

describe("reports", () => {
  it("are applied once, however they are cut into frames when they are said again", () => {
    const { take, reports } = create();
    expect(take(1, 1, 3)).toEqual(apply(0));
    expect(take(1, 1, 3)).toEqual(apply(3));
    expect(take(2, 2, 5)).toEqual(apply(2));
    expect(take(4, 4, 4)).toEqual(apply(1));
    expect(take(6, 6, 6)).toEqual(apply(0));
    expect(reports.applied(RELAY)).toBe(6);
  });

  it("wait while earlier ones are missing that the relay still holds", () => {
    const { take, reports } = create();
    take(1, 1, 2);
    expect(take(1, 5, 6)).toEqual(GAP);
    expect(reports.applied(RELAY)).toBe(2);
    expect(take(1, 1, 6)).toEqual(apply(2));
  });

  it("go on after those that the relay gave up", () => {
    const { take } = create();
    take(1, 1, 2);
    expect(take(5, 5, 6)).toEqual(apply(0));
    expect(take(9, 10, 11)).toEqual(GAP);
  });

  it("begin after what is stored of the relay's epoch", () => {
    const { take } = create({ seq: 9, report: 7 });
    expect(take(1, 6, 8)).toEqual(apply(2));
    const { take: takeAhead } = create({ seq: 9, report: 7 });
    expect(takeAhead(1, 9, 9)).toEqual(GAP);
  });

  it("of a relay that was started again begin anew", () => {
    const { take, reports } = create();
    take(1, 1, 4);
    expect(take(1, 1, 1, { ...RELAY, epoch: "e2" })).toEqual(apply(0));
    expect(reports.applied(RELAY)).toBe(0);
  });
});

describe("what is not saved", () => {
  it("outlives the relay's connection until it is", () => {
    const { take, reports } = create();
    expect(reports.isSaved).toBe(true);
    take(1, 1, 4);
    expect(reports.unsaved()).toEqual([{ ...RELAY, seq: 1, report: 4 }]);
    reports.saved();
    expect([reports.isSaved, reports.unsaved()]).toEqual([true, []]);
  });

  it("is counted by frame for version 1", () => {
    const { reports } = create();
    expect(reports.takeFrame(RELAY, 5)).toEqual(apply(0));
    expect(reports.takeFrame(RELAY, 4)).toEqual(apply(0));
    expect(reports.unsaved()).toEqual([{ ...RELAY, seq: 5, report: 0 }]);
  });

  it("keeps its place: past the maximum of relays others are refused until it is saved", () => {
    const { take, reports } = create();
    for (let i = 0; i < REPORTERS_MAX; i++) take(1, 1, 1, { agent: `r${i}`, epoch: "e" });
    expect(take(1, 1, 1)).toEqual({ ok: false, why: "full" });
    expect(reports.takeFrame(RELAY, 1)).toEqual({ ok: false, why: "full" });
    reports.saved();
    expect(take(1, 1, 1)).toEqual(apply(0));
    expect(reports.unsaved()).toHaveLength(1);
  });
});
