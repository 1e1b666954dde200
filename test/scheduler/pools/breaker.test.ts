import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  Breaker,
  BREAKER_DEFAULTS,
  type BreakerOutcome,
} from "../../../src/scheduler/pools/breaker.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const NOW_MS = 1_000_000;
/** Leases are as long as they get. */
const longest = () => 0;
const { leaseMs, leaseMsMax, probeLeaseMs, windowMs } = BREAKER_DEFAULTS;

function report(breaker: Breaker, outcome: BreakerOutcome, atMs: number, isFatal = false): void {
  breaker.record({ permit: breaker.acquire(atMs), outcome, isFatal }, atMs, longest);
}

function opened(): Breaker {
  const breaker = new Breaker();
  report(breaker, "failure", NOW_MS, true);
  return breaker;
}

it("is half-open as soon as its lease is ended, and stays closed where it is", () => {
  const breaker = opened();
  breaker.endLease(NOW_MS + 10);
  expect(breaker.state(NOW_MS + 9)).toBe("open");
  expect(breaker.state(NOW_MS + 10)).toBe("half-open");
  report(breaker, "success", NOW_MS + 11);
  breaker.endLease(NOW_MS + 12);
  expect(breaker.state(NOW_MS + 12)).toBe("closed");
});

it("heeds nothing that began before it was closed", () => {
  const breaker = opened();
  const failure = { permit: "pass", outcome: "failure", isFatal: true } as const;
  breaker.record({ permit: undefined, outcome: "success" }, NOW_MS + 10, longest);
  breaker.record({ ...failure, begunAtMs: NOW_MS + 9 }, NOW_MS + 11, longest);
  expect(breaker.state(NOW_MS + 11)).toBe("closed");
  breaker.record({ ...failure, begunAtMs: NOW_MS + 10 }, NOW_MS + 11, longest);
  expect(breaker.state(NOW_MS + 11)).toBe("open");
});

describe("opening", () => {
  it("takes one connection that is refused or reset", () => {
    expect(opened().state(NOW_MS)).toBe("open");
    expect(opened().acquire(NOW_MS)).toBeUndefined();
  });

  it("takes five failures on end, of however few requests", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 4; i++) report(breaker, "failure", NOW_MS + 6_000 * i);
    expect(breaker.state(NOW_MS + 18_000)).toBe("closed");
    report(breaker, "failure", NOW_MS + 24_000);
    expect(breaker.state(NOW_MS + 24_000)).toBe("open");
  });

  it("takes half of ten outcomes within the window", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 9; i++) report(breaker, i % 2 === 0 ? "failure" : "success", NOW_MS + i);
    expect(breaker.state(NOW_MS + 9)).toBe("closed");
    report(breaker, "failure", NOW_MS + 9);
    expect(breaker.state(NOW_MS + 9)).toBe("open");
  });

  it("does not count what is older than the window", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 8; i++) report(breaker, i % 2 === 0 ? "failure" : "success", NOW_MS + i);
    const laterMs = NOW_MS + 1.5 * windowMs;
    for (let i = 0; i < 4; i++) report(breaker, i % 2 === 0 ? "failure" : "success", laterMs + i);
    expect(breaker.state(laterMs + 4)).toBe("closed");
  });

  it("never comes of neutral outcomes, and they forgive nothing", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 4; i++) {
      report(breaker, "failure", NOW_MS);
      for (let j = 0; j < 20; j++) report(breaker, "neutral", NOW_MS);
    }
    expect(breaker.state(NOW_MS)).toBe("closed");
    report(breaker, "failure", NOW_MS);
    expect(breaker.state(NOW_MS)).toBe("open");
  });
});

describe("half-open", () => {
  it("lets one request through at a time when the lease is over", () => {
    const breaker = opened();
    const laterMs = NOW_MS + leaseMs;
    expect(breaker.state(laterMs - 1)).toBe("open");
    expect(breaker.state(laterMs)).toBe("half-open");
    expect(breaker.acquire(laterMs)).toBe("probe");
    expect(breaker.state(laterMs)).toBe("open");
    expect(breaker.acquire(laterMs)).toBeUndefined();
  });

  it("closes with the probe's success", () => {
    const breaker = opened();
    report(breaker, "success", NOW_MS + leaseMs);
    expect(breaker.acquire(NOW_MS + leaseMs)).toBe("pass");
  });

  it("opens for twice as long with each probe that fails, up to a maximum", () => {
    const breaker = opened();
    let atMs = NOW_MS;
    for (const expected of [1_000, 2_000, 4_000, 4_000]) {
      atMs += expected;
      expect(breaker.state(atMs - 1)).toBe("open");
      expect(breaker.state(atMs)).toBe("half-open");
      report(breaker, "failure", atMs);
    }
  });

  it("gives the probe's place back for a neutral outcome", () => {
    const breaker = opened();
    report(breaker, "neutral", NOW_MS + leaseMs);
    expect(breaker.state(NOW_MS + leaseMs)).toBe("half-open");
  });

  it("gives the place of a probe back that nobody tells the end of", () => {
    const breaker = opened();
    const laterMs = NOW_MS + leaseMs;
    breaker.acquire(laterMs);
    expect(breaker.state(laterMs + probeLeaseMs - 1)).toBe("open");
    expect(breaker.state(laterMs + probeLeaseMs)).toBe("half-open");
  });
});

describe("what was sent before it opened", () => {
  it("neither prolongs the lease nor ends it", () => {
    const breaker = opened();
    for (const outcome of ["failure", "success"] as const) {
      for (let i = 0; i < 100; i++)
        breaker.record({ permit: "pass", outcome, isFatal: true }, NOW_MS + 500, longest);
    }
    expect(breaker.state(NOW_MS + leaseMs - 1)).toBe("open");
    expect(breaker.state(NOW_MS + leaseMs)).toBe("half-open");
  });

  it("is told apart from what was sent against its word, whose success closes it", () => {
    const breaker = opened();
    breaker.record({ permit: undefined, outcome: "failure" }, NOW_MS + 10, longest);
    expect(breaker.state(NOW_MS + leaseMs)).toBe("half-open");
    breaker.record({ permit: undefined, outcome: "success" }, NOW_MS + 20, longest);
    expect(breaker.state(NOW_MS + 20)).toBe("closed");
  });
});

describe("closing", () => {
  it("begins the backoff anew, but for a relapse that follows at once", () => {
    const reopened = (afterMs: number) => {
      const breaker = opened();
      report(breaker, "failure", NOW_MS + 1_000);
      const closedAtMs = NOW_MS + 3_000;
      report(breaker, "success", closedAtMs);
      report(breaker, "failure", closedAtMs + afterMs, true);
      let leaseEndMs = closedAtMs + afterMs;
      while (breaker.state(leaseEndMs) === "open") leaseEndMs += 1;
      return leaseEndMs - closedAtMs - afterMs;
    };
    expect(reopened(2_001)).toBe(1_000);
    expect(reopened(2_000)).toBe(4_000);
  });
});

describe("whatever happens", () => {
  const step = fc.record({
    waitMs: fc.nat(3_000),
    outcome: fc.constantFrom("success", "failure", "neutral" as const),
    isFatal: fc.boolean(),
    permit: fc.constantFrom("pass", "probe", undefined, "acquire" as const),
  });

  it("is never open for longer than the longest lease, and never lets two probes through", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, seed) => {
        const breaker = new Breaker();
        const rng = createRng(seed);
        let nowMs = NOW_MS;
        for (const { waitMs, outcome, isFatal, permit } of steps) {
          nowMs += waitMs;
          const given = permit === "acquire" ? breaker.acquire(nowMs) : permit;
          const isProbing = given === "probe" && permit === "acquire";
          expect(isProbing && breaker.acquire(nowMs) === "probe").toBe(false);
          breaker.record({ permit: given, outcome, isFatal }, nowMs, rng);
        }
        expect(breaker.state(nowMs + leaseMsMax)).not.toBe("open");
      }),
    );
  });
});
