import { describe, expect, it } from "vitest";
import {
  type Account,
  accountOf,
  type Moments,
  type Seen,
} from "../../../src/cli/chaos/account.ts";
import { describeAccount, type Told } from "../../../src/cli/chaos/table.ts";

const MOMENTS: Moments = { actedMs: 1_000, returnedMs: 4_000, endMs: 10_000 };

const TOLD: Told = {
  deed: "kill cluster-2",
  clusters: ["cluster-1", "cluster-2"],
  ratePerS: 100,
  actedMs: 1_000,
  returnedMs: 4_000,
};

/** A request each 10 ms; `change` says what was not as usual. */
function traffic(change: (startedMs: number) => Partial<Seen>): Seen[] {
  return Array.from({ length: 1_000 }, (_, i) => {
    const startedMs = i * 10;
    return {
      startedMs,
      firstByteMs: startedMs + 50,
      endedMs: startedMs + 200,
      isStream: i % 2 === 0,
      outcome: "ok",
      code: "",
      cluster: i % 2 === 0 ? "cluster-1" : "cluster-2",
      attempts: 1,
      ...change(startedMs),
    };
  });
}

const account = (change: (startedMs: number) => Partial<Seen>): Account =>
  accountOf(traffic(change), MOMENTS, "cluster-2");

describe("an account", () => {
  it("of a cluster that was left at once and used again a second after its return", () => {
    const { total, phases, ...rest } = account((startedMs) => {
      if (startedMs < 1_000 || startedMs >= 5_000) return {};
      return startedMs < 1_300 ? { cluster: "cluster-1", attempts: 2 } : { cluster: "cluster-1" };
    });
    expect(rest).toEqual({
      avoidedMs: 300,
      usedAgainMs: 1_010,
      shareBefore: 0.5,
      sharesAfter: [0.5, 0.5, 0.5, 0.5],
      holds: true,
    });
    expect(total).toMatchObject({ requests: 1_000, ok: 1_000, retried: 30, failed: {} });
    expect(
      phases.map(({ name, requests, shares }) => [name, requests, shares["cluster-2"]]),
    ).toEqual([
      ["before", 100, 0.5],
      ["during", 300, undefined],
      ["after", 600, 250 / 600],
    ]);
  });

  it("does not hold where one request failed before its first byte, and does where others ended later", () => {
    const failed = account((startedMs) =>
      startedMs === 1_500
        ? { outcome: "failed", code: "pool_unavailable", firstByteMs: null, cluster: null }
        : {},
    );
    expect(failed.holds).toBe(false);
    expect(failed.total.failed).toEqual({ pool_unavailable: 1 });
    const ended = account((startedMs) =>
      startedMs === 500 ? { outcome: "ended", code: "upstream_lost" } : {},
    );
    expect(ended.holds).toBe(true);
    expect(ended.phases[0]!.ended).toEqual({ upstream_lost: 1 });
  });

  it.for([
    ["a stream that breaks without an event", { isStream: true, code: "ECONNRESET" }],
    ["a stream that stops without its end", { isStream: true, code: "cut_short" }],
    ["a JSON answer that is cut", { isStream: false, code: "cut_short" }],
  ] as const)("does not hold with %s, which is counted apart", ([, how]) => {
    const { holds, total } = account((startedMs) => {
      if (startedMs === 1_500) return { outcome: "ended", ...how };
      return startedMs === 1_520 ? { outcome: "ended", code: "engine_lost" } : {};
    });
    expect(holds).toBe(false);
    expect(total).toMatchObject({
      ok: 998,
      failed: {},
      ended: { engine_lost: 1 },
      broken: { [how.code]: 1 },
    });
  });

  it("does not hold without a request", () => {
    const none = accountOf([], MOMENTS, "cluster-2");
    expect(none).toMatchObject({ holds: false, total: { requests: 0 } });
    expect(describeAccount(none, TOLD)).toContain("Nothing is known of it: no request was sent.");
  });

  it("says apart what ended with an error event and what ended without one", () => {
    const broken = account((startedMs) => {
      if (startedMs === 1_500) return { outcome: "ended", code: "ECONNRESET" };
      return startedMs === 1_520 ? { outcome: "ended", code: "engine_lost" } : {};
    });
    const text = describeAccount(broken, TOLD);
    expect(text).toMatch(/ended after it, with an error +1: 1 engine_lost\n/);
    expect(text).toMatch(/ended in another way +1: 1 ECONNRESET\n/);
    expect(text).toContain("It did not hold: answers ended without the event that says so.");
    expect(
      describeAccount(
        account(() => ({})),
        TOLD,
      ),
    ).toContain("It held: ");
  });

  it("counts probes as no use, but what is more than those", () => {
    const probed = (everyMs: number) =>
      account((startedMs) =>
        startedMs >= 1_000
          ? { cluster: startedMs % everyMs === 0 ? "cluster-2" : "cluster-1" }
          : {},
      );
    // One in 50 is below a twentieth; one in 10 is not.
    expect(probed(500).avoidedMs).toBe(10);
    expect(probed(100).avoidedMs).toBeNull();
  });

  it("has no time until it was avoided, where that did not last", () => {
    const { avoidedMs } = accountOf(
      traffic((startedMs) => (startedMs >= 9_700 ? { cluster: "cluster-1" } : {})),
      MOMENTS,
      "cluster-2",
    );
    expect(avoidedMs).toBeNull();
  });

  it("takes times to the first byte from event streams alone", () => {
    const { phases } = account((startedMs) =>
      (startedMs / 10) % 2 === 1 ? { firstByteMs: startedMs + 5_000 } : {},
    );
    expect(phases[0]!.ttftMs).toEqual({ p50: 50, p90: 50, p99: 50 });
  });

  it("has two phases where the target did not come back, and no cluster for the directory", () => {
    const lost = accountOf(
      traffic(() => ({})),
      { ...MOMENTS, returnedMs: null },
      undefined,
    );
    expect(lost.phases.map(({ name, toMs }) => [name, toMs])).toEqual([
      ["before", 1_000],
      ["during", 10_000],
    ]);
    expect(lost).toMatchObject({ avoidedMs: null, usedAgainMs: null, shareBefore: null });
  });
});
