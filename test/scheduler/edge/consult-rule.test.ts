// Where a request is decided, term by term.

import { describe, expect, it } from "vitest";
import {
  afterPick,
  askingMeanwhile,
  decideWhere,
  NEAR_MS,
  SATURATION_LOCAL_MAX,
  SNAPSHOT_SERVES_AWAY_MS,
  SNAPSHOT_SERVES_MS,
  unseenLoadMs,
  type WhereFacts,
} from "../../../src/scheduler/edge/consult-rule.ts";

const SNAPSHOT = { ageMs: 100, saturation: 0.5, waiting: 0, isHeld: false };
const FACTS: WhereFacts = {
  mode: "auto",
  isLocalCapable: true,
  isAway: false,
  rttMs: 40,
  snapshot: SNAPSHOT,
  credit: 10_000,
  neededTokens: 1_000,
  priority: 0,
};

const MISSED = {
  knownTokens: 1_000,
  possibleTokens: 1_400,
  prefillMsPerToken: 0.1,
  loadMs: 0,
  ownMs: 0,
};

function whereOf(facts: Partial<WhereFacts>): string {
  const { where, reason } = decideWhere({ ...FACTS, ...facts });
  return `${where}: ${reason}`;
}

describe("decideWhere", () => {
  it.each<[string, Partial<WhereFacts>]>([
    ["local: nothing-to-gain", {}],
    ["consult: near", { rttMs: NEAR_MS - 0.1 }],
    ["local: nothing-to-gain", { rttMs: NEAR_MS }],
    ["consult: forced-consult", { mode: "consult" }],
    ["local: forced-local", { mode: "local", rttMs: 0.1 }],
    ["consult: not-local", { isLocalCapable: false }],
    ["consult: not-local", { isLocalCapable: false, mode: "local" }],
    ["consult: no-snapshot", { snapshot: undefined }],
    ["local: nothing-to-gain", { snapshot: { ...SNAPSHOT, ageMs: SNAPSHOT_SERVES_MS } }],
    ["consult: stale", { snapshot: { ...SNAPSHOT, ageMs: SNAPSHOT_SERVES_MS + 1 } }],
    ["consult: stale", { mode: "local", snapshot: { ...SNAPSHOT, ageMs: SNAPSHOT_SERVES_MS + 1 } }],
    ["consult: held", { snapshot: { ...SNAPSHOT, isHeld: true } }],
    ["consult: held", { snapshot: { ...SNAPSHOT, waiting: 1 } }],
    ["consult: held", { priority: -1, snapshot: { ...SNAPSHOT, saturation: 0.51 } }],
    ["local: nothing-to-gain", { priority: -1 }],
    ["consult: full", { snapshot: { ...SNAPSHOT, saturation: SATURATION_LOCAL_MAX + 0.01 } }],
    ["consult: full", { snapshot: { ...SNAPSHOT, saturation: Number.POSITIVE_INFINITY } }],
    ["local: nothing-to-gain", { credit: 1_000 }],
    ["consult: no-credit", { credit: 999 }],
    ["consult: no-credit", { credit: 999, mode: "local" }],
  ])("says %s of %o", (expected, facts) => {
    expect(whereOf(facts)).toBe(expected);
  });

  it("serves with any snapshot that is not too old while the object is away", () => {
    const away = { isAway: true, isLocalCapable: false, credit: 0, mode: "consult" } as const;
    const old = { ...SNAPSHOT, ageMs: SNAPSHOT_SERVES_AWAY_MS, isHeld: true };
    expect(whereOf({ ...away, snapshot: old })).toBe("local: object-away");
    const tooOld = { ...old, ageMs: SNAPSHOT_SERVES_AWAY_MS + 1 };
    expect(whereOf({ ...away, snapshot: tooOld })).toBe("consult: stale");
    expect(whereOf({ ...away, snapshot: undefined })).toBe("consult: no-snapshot");
  });

  it("tells its terms", () => {
    expect(decideWhere(FACTS)).toMatchObject({
      rttMs: 40,
      snapshotAgeMs: 100,
      credit: 10_000,
      saturation: 0.5,
      gainMs: 0,
    });
  });
});

describe("afterPick", () => {
  it("asks only where that could save more than the way there and back", () => {
    const local = decideWhere(FACTS);
    expect(afterPick(local, MISSED)).toMatchObject({ where: "local", gainMs: 40 });
    expect(afterPick(local, { ...MISSED, possibleTokens: 1_410 })).toMatchObject({
      where: "consult",
      reason: "cache-elsewhere",
      knownTokens: 1_000,
      possibleTokens: 1_410,
      gainMs: 41,
    });
  });

  it("asks because of loads that the snapshot does not show", () => {
    const terms = afterPick(decideWhere(FACTS), { ...MISSED, possibleTokens: 1_000, loadMs: 41 });
    expect(terms).toMatchObject({ where: "consult", reason: "stale", gainMs: 41 });
  });

  it("adds the two up", () => {
    const terms = afterPick(decideWhere(FACTS), { ...MISSED, possibleTokens: 1_250, loadMs: 20 });
    expect(terms).toMatchObject({ where: "consult", gainMs: 45 });
  });

  it("asks sooner about a prompt that takes long anyway", () => {
    const waiting = { ...MISSED, possibleTokens: 1_000, loadMs: 21 };
    const local = decideWhere(FACTS);
    expect(afterPick(local, waiting).where).toBe("local");
    expect(afterPick(local, { ...waiting, ownMs: 400 }).where).toBe("consult");
  });

  it("leaves forced decisions, and those without the object, as they are", () => {
    const much = { ...MISSED, possibleTokens: 100_000 };
    const forced = decideWhere({ ...FACTS, mode: "local" });
    expect(afterPick(forced, much)).toMatchObject({ where: "local", reason: "forced-local" });
    const away = decideWhere({ ...FACTS, isAway: true });
    expect(afterPick(away, much)).toMatchObject({ where: "local", reason: "object-away" });
  });
});

describe("askingMeanwhile", () => {
  const much = { ...MISSED, possibleTokens: 1_000, loadMs: 500 };

  it("sends what only the age of loads speaks against", () => {
    const terms = afterPick(decideWhere(FACTS), much);
    expect(askingMeanwhile(terms)).toEqual({ ...terms, where: "local", reason: "asked-meanwhile" });
  });

  it("leaves to the object what others may hold more of", () => {
    const terms = afterPick(decideWhere(FACTS), { ...much, possibleTokens: 100_000 });
    expect(terms.reason).toBe("cache-elsewhere");
    expect(askingMeanwhile(terms)).toBe(terms);
  });

  it.each<[string, Partial<WhereFacts>]>([
    ["nothing-to-gain", {}],
    ["forced-local", { mode: "local" }],
    ["object-away", { isAway: true }],
    ["forced-consult", { mode: "consult" }],
    ["near", { rttMs: 0 }],
    ["not-local", { isLocalCapable: false }],
    ["no-snapshot", { snapshot: undefined }],
    ["held", { snapshot: { ...SNAPSHOT, isHeld: true } }],
    ["full", { snapshot: { ...SNAPSHOT, saturation: 1 } }],
    ["no-credit", { credit: 0 }],
  ])("leaves %s as it is", (reason, facts) => {
    const terms = decideWhere({ ...FACTS, ...facts });
    expect(terms.reason).toBe(reason);
    expect(askingMeanwhile(terms)).toBe(terms);
  });
});

describe("unseenLoadMs", () => {
  const load = { othersPerS: 10, ageMs: 500, workMs: 200, aheadMs: 200, endpoints: 8 };

  it("is what is left of the work where one of others is likely to be, for each that is", () => {
    // 10/s × 0.2 s / 8 = 0.25 of a request at each endpoint, half done.
    expect(unseenLoadMs(load)).toBeCloseTo(25);
    // Half as many, of which a quarter is done.
    expect(unseenLoadMs({ ...load, ageMs: 100 })).toBeCloseTo(0.125 * 150);
  });

  it("goes by the long prompts, which are met more often", () => {
    expect(unseenLoadMs({ ...load, aheadMs: 400 })).toBeCloseTo(50);
  });

  it("grows with the spread of many, not with their number", () => {
    expect(unseenLoadMs({ ...load, othersPerS: 160 })).toBeCloseTo(100 * 2);
  });

  it("is nothing without others, without age and without endpoints", () => {
    for (const part of [
      { othersPerS: 0 },
      { ageMs: 0 },
      { endpoints: 0 },
      { workMs: 0 },
      { workMs: 0, aheadMs: 0 },
    ])
      expect(unseenLoadMs({ ...load, ...part })).toBe(0);
  });
});
