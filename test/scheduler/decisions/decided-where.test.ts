import { expect, it } from "vitest";
import {
  DECIDED_WHERE_LIMITS,
  DecidedWhere,
  encodeTerms,
} from "../../../src/scheduler/decisions/decided-where.ts";
import type { ConsultTerms } from "../../../src/scheduler/edge/contracts.ts";

const TERMS: ConsultTerms = {
  where: "local",
  reason: "nothing-to-gain",
  rttMs: 41.257,
  snapshotAgeMs: 120,
  credit: 50_000,
  saturation: 0.314,
  knownTokens: 640,
  possibleTokens: 1_280,
  gainMs: 12.5,
};

it("tells the terms of an attempt, to a hundredth", () => {
  const decided = new DecidedWhere();
  decided.add("r", 1, encodeTerms(TERMS));
  decided.add("r", 2, encodeTerms({ ...TERMS, where: "consult", reason: "no-credit", credit: 0 }));
  expect(decided.find("r", 1)).toEqual({ ...TERMS, rttMs: 41.26, saturation: 0.31 });
  expect(decided.find("r", 2)).toMatchObject({ where: "consult", reason: "no-credit", credit: 0 });
  expect(decided.find("r", 3)).toBeUndefined();
});

it("has no number where there was none", () => {
  const decided = new DecidedWhere();
  const none = { rttMs: Infinity, snapshotAgeMs: Infinity, gainMs: NaN };
  decided.add("r", 1, encodeTerms({ ...TERMS, ...none }));
  expect(decided.find("r", 1)).toMatchObject({ rttMs: null, snapshotAgeMs: null, gainMs: null });
  expect(decided.find("r", 1)).toMatchObject({ credit: 50_000 });
});

it("reads what a newer Worker writes, as far as it can", () => {
  const decided = new DecidedWhere();
  decided.add("r", 1, "consult on-a-whim 1 2 3 4 5 6 7 8");
  expect(decided.find("r", 1)).toMatchObject({ reason: "on-a-whim", gainMs: 7 });
  decided.add("r", 2, "elsewhere near 1");
  expect(decided.find("r", 2)).toBeUndefined();
  decided.add("r", 3, "");
  expect(decided.find("r", 3)).toBeUndefined();
});

it("keeps as many as it may, and none that is too long", () => {
  const decided = new DecidedWhere();
  const { textsMax, charsPerTextMax } = DECIDED_WHERE_LIMITS;
  for (let i = 0; i <= textsMax; i++) decided.add(`r${i}`, 1, encodeTerms(TERMS));
  expect(decided.size).toBe(textsMax);
  expect(decided.find("r0", 1)).toBeUndefined();
  expect(decided.find(`r${textsMax}`, 1)).toBeDefined();
  decided.add("long", 1, "x".repeat(charsPerTextMax + 1));
  expect(decided.find("long", 1)).toBeUndefined();
});
