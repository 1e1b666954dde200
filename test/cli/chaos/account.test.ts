import { describe, expect, it } from "vitest";
import {
  type Account,
  accountOf,
  type Moments,
  type Seen,
} from "../../../src/cli/chaos/account.ts";

const MOMENTS: Moments = { actedMs: 1_000, returnedMs: 4_000, endMs: 10_000 };

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
