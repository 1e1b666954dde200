import { expect, it } from "vitest";
import {
  encodeChoice,
  POOL_CHOICES_LIMITS,
  PoolChoices,
} from "../../../src/scheduler/decisions/pool-choices.ts";
import {
  CHOICE_CANDIDATES_MAX,
  type PoolCandidate,
} from "../../../src/scheduler/pools/contracts.ts";

const { textsMax, charsMax, charsPerTextMax } = POOL_CHOICES_LIMITS;

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

const text = (chars: number) => `"${"x".repeat(chars - 2)}"`;

it("keeps what was said last of a request", () => {
  const choices = new PoolChoices();
  expect(choices.find("r")).toBeUndefined();
  choices.add("r", encodeChoice(candidates(2)));
  choices.add("r", encodeChoice(candidates(3)));
  expect(choices.find("r")).toEqual(candidates(3));
  expect(choices.size).toBe(1);
});

it("tells numbers to a tenth, and none that there is not", () => {
  const choices = new PoolChoices();
  const terms = { waitMs: 19.400_000_000_000_002, loadMs: Infinity };
  choices.add("r", encodeChoice(candidates(1, { terms, costMs: 1 / 3, uncachedTokens: 7 })));
  const told = { waitMs: 19.4, loadMs: null };
  expect(choices.find("r")).toEqual([{ ...candidates(1)[0], terms: told, costMs: 0.3 }]);
});

it("tells of as many pools as it may, the first", () => {
  const choices = new PoolChoices();
  choices.add("r", encodeChoice(candidates(CHOICE_CANDIDATES_MAX + 1)));
  expect(choices.find("r")).toEqual(candidates(CHOICE_CANDIDATES_MAX));
});

it("keeps as many requests as it may, the latest", () => {
  const choices = new PoolChoices();
  for (let i = 0; i <= textsMax; i++) choices.add(`r${i}`, encodeChoice(candidates(1)));
  expect(choices.size).toBe(textsMax);
  expect(choices.find("r0")).toBeUndefined();
  expect(choices.find("r1")).toEqual(candidates(1));
});

it("keeps as much text as it may, over all requests", () => {
  const choices = new PoolChoices();
  const requests = charsMax / charsPerTextMax;
  for (let i = 0; i < requests; i++) choices.add(`r${i}`, text(charsPerTextMax));
  expect(choices.size).toBe(requests);
  choices.add("one-more", text(10));
  expect(choices.size).toBe(requests);
  choices.add("too-long", text(charsPerTextMax + 1));
  expect(choices.size).toBe(requests);
});

it.for(["", "{", "7", '[{"pool":7}]'])("says nothing of what it cannot read: %s", (choice) => {
  const choices = new PoolChoices();
  choices.add("r", choice);
  expect(choices.find("r")).toBeUndefined();
});
