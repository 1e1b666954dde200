import { describe, expect, it } from "vitest";
import { BoundWatch } from "../../../../bench/simulation/edge/bound-watch.ts";
import { type EdgeFigures } from "../../../../bench/simulation/edge/figures.ts";
import { HashedIndex } from "../../../../bench/simulation/edge/hashed-index.ts";
import { type EdgeJob, runEdgeJob } from "../../../../bench/simulation/edge/job.ts";
import { runEdge } from "../../../../bench/simulation/edge/report.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

/** Small: what takes minutes is `npm run bench:simulation -- --edge`. */
function run(scenario: string, way: string, more: Partial<EdgeJob> = {}): EdgeFigures {
  const small = { requests: 1_600, endpointCount: 12, isolatesPerColo: 2 };
  return runEdgeJob({ scenario, way, seed: 1, ...small, ...more }).figures;
}

const NO_BYTES = { commitBytes: 0, snapshotBytes: 0 };

describe("one pool at the edge", () => {
  it("gives the same figures each time", () => {
    // But for bytes: a number weighs as the runtime happens to hold it.
    const figures = () => ({ ...run("chat", "auto", { requests: 300 }), ...NO_BYTES });
    expect(figures()).toEqual(figures());
  });

  it("decides most requests alone, as well as who always asks and sooner", () => {
    const auto = run("chat", "auto");
    const ask = run("chat", "ask");
    const instant = run("chat", "instant");
    expect(auto.local).toBeGreaterThan(0.6);
    expect(auto.ttft_p50).toBeLessThan(0.8 * ask.ttft_p50);
    expect(auto.ttft_p90).toBeLessThan(ask.ttft_p90);
    // Few endpoints, so that isolates meet more often than in a large pool.
    expect(auto.ttft_p90).toBeLessThan(1.15 * instant.ttft_p90);
    expect(auto.found).toBeGreaterThan(0.97 * instant.found);
    expect(auto.shed).toBe(0);
  });

  it("finds far more than isolates that know only loads, which wait longer, too", () => {
    const auto = run("chat", "auto");
    const naive = run("chat", "two choices");
    expect(auto.hit_rate).toBeGreaterThan(1.3 * naive.hit_rate);
    expect(auto.ttft_p90).toBeLessThan(0.8 * naive.ttft_p90);
  });

  it("sends long prompts at once and asks meanwhile, sooner than who asks first, and calls few off", () => {
    const auto = run("trace", "auto");
    const ask = run("trace", "ask");
    expect(auto.reasons["asked-meanwhile"]).toBeGreaterThan(0.1);
    expect(auto.ttft_mean).toBeLessThan(ask.ttft_mean);
    expect(auto.calledOffShare).toBeGreaterThan(0);
    expect(auto.calledOffShare).toBeLessThan(0.35);
  });

  it("asks where the object is near, and by what it has alone where requests are few", () => {
    expect(run("chat", "auto", { rttMs: 2 }).reasons["near"]).toBeGreaterThan(0.95);
    const few = run("chat", "auto", { isolatesPerColo: 100 });
    expect(few.local).toBeLessThan(0.4);
    expect(few.reasons["stale"]! + few.reasons["no-snapshot"]!).toBeGreaterThan(0.4);
  });

  it.each(["auto", "local", "ask"])(
    "sends no endpoint more than its bound and the credit outstanding, whatever is lost: %s",
    (way) => {
      const { overshoot, outstanding, violations, local } = run("bounds", way);
      expect(violations).toBe(0);
      expect(Math.max(0, overshoot)).toBeLessThanOrEqual(outstanding);
      expect(local > 0.3).toBe(way !== "ask");
    },
  );
});

describe("a pool of four objects", () => {
  const more = { requests: 3_200 };

  it("has as good a hit rate as one, and even objects, by splits", () => {
    const one = run("forty blocks, 1 object", "ask", more);
    const four = run("forty blocks, 4 objects", "ask", more);
    expect(four.splitChanges).toBeGreaterThan(0);
    expect(four.shardImbalance).toBeLessThan(1.5);
    expect(Math.abs(four.hit_rate - one.hit_rate)).toBeLessThan(0.02 * one.hit_rate);
  });

  it("has one that does all by the first block", () => {
    expect(run("forty blocks, 4 objects", "ask by first block").shardImbalance).toBeGreaterThan(
      3.9,
    );
  });
});

describe("BoundWatch", () => {
  it("counts what is over an endpoint's bound by more than the credit", () => {
    let outstanding = 1;
    const watch = new BoundWatch(2, 2, () => outstanding);
    for (let n = 0; n < 3; n++) watch.sent(1, n);
    expect(watch.figures).toEqual({ overshoot: 1, outstanding: 1, violations: 0 });
    watch.sent(1, 3);
    expect(watch.figures).toEqual({ overshoot: 2, outstanding: 1, violations: 1 });
    outstanding = 5;
    watch.ended(1);
    watch.sent(1, 4);
    expect(watch.figures.violations).toBe(1);
    // What was outstanding long ago excuses nothing.
    outstanding = 0;
    for (const atMs of [20_000, 40_000, 60_000]) watch.sent(0, atMs);
    watch.sent(1, 60_001);
    expect(watch.figures.violations).toBe(3);
  });
});

describe("HashedIndex", () => {
  it("is a map of numbers", () => {
    const index = new HashedIndex(40);
    const map = new Map<number, number>();
    const rng = createRng(3);
    for (let n = 0; n < 20_000; n++) {
      const name = Math.floor(rng() * 200) * 64;
      if (rng() < 0.5 && map.size < 40) {
        index.set(name, n);
        map.set(name, n);
      } else {
        index.delete(name);
        map.delete(name);
      }
      const other = Math.floor(rng() * 200) * 64;
      expect(index.get(other)).toBe(map.get(other));
      expect(index.size).toBe(map.size);
    }
  });
});

describe("the report", () => {
  it("has a quick one", async () => {
    const lines: string[] = [];
    const output = { print: (text: string) => void lines.push(text), complain: () => {} };
    await runEdge({ isDocumented: false, isQuick: true }, output);
    expect(lines.join("\n")).toMatch(/^\*\*chat\*\*, small[^|]+\| Way .*\n\| -.*\n\| auto /);
  });
});
