import { expect, it } from "vitest";
import { POOL_CHOICES_LIMITS, PoolChoices } from "../../../src/scheduler/decisions/pool-choices.ts";
import type { PoolCandidate } from "../../../src/scheduler/pools/contracts.ts";

const { requestsMax, candidatesMax, candidatesPerRequestMax, nameCharsMax, termsPerCandidateMax } =
  POOL_CHOICES_LIMITS;

function candidates(count: number, more: Partial<PoolCandidate> = {}): PoolCandidate[] {
  return Array.from({ length: count }, (_, i) => ({
    pool: `p${i}`,
    tier: 0,
    state: "fresh",
    terms: { rttMs: 20 },
    costMs: 20,
    ...more,
  }));
}

it("keeps what was said last of a request", () => {
  const choices = new PoolChoices();
  expect(choices.find("r")).toBeUndefined();
  choices.add("r", candidates(2));
  choices.add("r", candidates(3));
  expect(choices.find("r")).toEqual(candidates(3));
  expect(choices.size).toBe(1);
});

it("keeps as many requests as it may, the latest", () => {
  const choices = new PoolChoices();
  for (let i = 0; i <= requestsMax; i++) choices.add(`r${i}`, candidates(1));
  expect(choices.size).toBe(requestsMax);
  expect(choices.find("r0")).toBeUndefined();
  expect(choices.find("r1")).toBeDefined();
});

it("keeps as many candidates as it may, over all requests", () => {
  const choices = new PoolChoices();
  const requests = candidatesMax / candidatesPerRequestMax;
  for (let i = 0; i < requests; i++) choices.add(`r${i}`, candidates(candidatesPerRequestMax));
  expect(choices.size).toBe(requests);
  choices.add("one-more", candidates(1));
  expect(choices.size).toBe(requests);
  expect(choices.find("r0")).toBeUndefined();
});

it("cuts what is longer than a Worker's choice can be", () => {
  const choices = new PoolChoices();
  const long = "x".repeat(nameCharsMax + 1);
  const terms = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`t${i}`, i]));
  choices.add("r", candidates(candidatesPerRequestMax + 1, { pool: long, state: long, terms }));
  const kept = choices.find("r")!;
  expect(kept).toHaveLength(candidatesPerRequestMax);
  expect([kept[0]!.pool.length, kept[0]!.state.length]).toEqual([nameCharsMax, nameCharsMax]);
  expect(Object.keys(kept[0]!.terms)).toHaveLength(termsPerCandidateMax);
});
