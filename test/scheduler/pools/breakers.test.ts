import { describe, expect, it } from "vitest";
import {
  Breakers,
  BREAKERS_MAX,
  OVERLOAD_LEASE_MS,
} from "../../../src/scheduler/pools/breakers.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { description, Isolate } from "./support/isolate.ts";

const NOW_MS = 1_000_000;
const rng = createRng(3);
const REFUSED = { permit: "pass", outcome: "failure", isFatal: true } as const;
const SERVED = { permit: "pass", outcome: "success" } as const;

describe("Breakers", () => {
  it("keeps each key's breaker apart, and none of those that are well", () => {
    const breakers = new Breakers();
    breakers.record("a", REFUSED, NOW_MS, rng);
    for (let i = 0; i < 100; i++) breakers.record(`well-${i}`, SERVED, NOW_MS, rng);
    expect(breakers.state("a", NOW_MS)).toBe("open");
    expect(breakers.state("b", NOW_MS)).toBe("closed");
    expect(breakers.acquire("b", NOW_MS)).toBe("pass");
    expect(breakers.size).toBe(1);
  });

  it("forgets a key that has been well for a while", () => {
    const breakers = new Breakers();
    breakers.record("a", { permit: "pass", outcome: "failure" }, NOW_MS, rng);
    breakers.record("a", SERVED, NOW_MS + 1, rng);
    expect(breakers.size).toBe(1);
    breakers.record("a", SERVED, NOW_MS + 20_000, rng);
    expect(breakers.size).toBe(0);
  });

  it("holds BREAKERS_MAX keys, and forgets the oldest for one more", () => {
    const breakers = new Breakers();
    for (let i = 0; i <= BREAKERS_MAX; i++) {
      breakers.record(`k${i}`, REFUSED, NOW_MS, rng);
      breakers.overloaded(`k${i}`, NOW_MS);
    }
    expect(breakers.size).toBe(BREAKERS_MAX);
    expect(breakers.state("k0", NOW_MS)).toBe("closed");
    expect(breakers.isOverloaded("k0", NOW_MS)).toBe(false);
    expect(breakers.state(`k${BREAKERS_MAX}`, NOW_MS)).toBe("open");
    expect(breakers.isOverloaded(`k${BREAKERS_MAX}`, NOW_MS)).toBe(true);
  });

  it("forgets an overload after a second, and with any success", () => {
    const breakers = new Breakers();
    breakers.overloaded("a", NOW_MS);
    expect(breakers.isOverloaded("a", NOW_MS + OVERLOAD_LEASE_MS - 1)).toBe(true);
    expect(breakers.isOverloaded("a", NOW_MS + OVERLOAD_LEASE_MS)).toBe(false);
    breakers.overloaded("a", NOW_MS);
    breakers.record("a", SERVED, NOW_MS, rng);
    expect(breakers.isOverloaded("a", NOW_MS)).toBe(false);
  });
});

// dynamo#14210: marks of overload without an end had an idle worker refused 3,600 times in 15 minutes.
describe("a pool that was overloaded for a moment and then idles", () => {
  it.for([["the only one"], ["one of two", "far"]])(
    "serves again within 1.1 s, as %s",
    ([, other]) => {
      const names = ["it", ...(other === undefined ? [] : [other])];
      const isolate = new Isolate(
        names.map((name, i) => description(name, { rttMs: 20 + 300 * i })),
      );
      isolate.allHear(NOW_MS);
      // Until 200 ms it answers 429, again and again.
      let last429Ms = NOW_MS;
      let servedMs = Infinity;
      for (let nowMs = NOW_MS; nowMs < NOW_MS + 15 * 60_000 && servedMs === Infinity; nowMs += 10) {
        const [first] = isolate.choose(nowMs).order;
        expect(first).toBeDefined();
        if (first !== "it") continue;
        const permit = isolate.breakers.acquire("it", nowMs);
        if (nowMs <= NOW_MS + 200) {
          isolate.breakers.overloaded("it", nowMs);
          isolate.breakers.record("it", { permit, outcome: "neutral" }, nowMs, rng);
          last429Ms = nowMs;
        } else {
          isolate.breakers.record("it", { permit, outcome: "success" }, nowMs, rng);
          servedMs = nowMs;
        }
        isolate.hears("it", nowMs);
      }
      expect(servedMs - last429Ms).toBeLessThanOrEqual(1_100);
      expect(isolate.breakers.state("it", servedMs)).toBe("closed");
    },
  );
});
