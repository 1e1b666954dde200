import { describe, expect, it } from "vitest";
import type { PoolComparison } from "../../../src/cli/what-if/compare.ts";
import { renderComparison } from "../../../src/cli/what-if/report.ts";

const COMPARISON: PoolComparison = {
  pool: "eu-1",
  decisions: 200,
  oldestAtMs: Date.UTC(2026, 10, 21, 12),
  newestAtMs: Date.UTC(2026, 10, 21, 12, 30),
  refused: { before: 0, after: 2 },
  configVersions: { oldest: 3, newest: 3 },
  disagreements: 50,
  examples: [
    {
      requestId: "fl-1",
      attempt: 0,
      before: "10.0.0.1:80",
      after: null,
      ttftMsBefore: 81.6,
      ttftMsAfter: null,
    },
  ],
  promptTokens: 1_000,
  hitTokens: { before: 600, after: 333 },
  ttftP50Ms: { before: 100, after: 150 },
  ttftP90Ms: { before: 900, after: Infinity },
  imbalance: { before: 1, after: 2.5 },
  calibration: {
    decisions: 190,
    predictedP50Ms: 100,
    measuredP50Ms: 90,
    predictedP90Ms: 300,
    measuredP90Ms: 310,
    errorP50Ms: 12,
  },
  notes: [{ text: "x-scorer learns from picks", decisions: 200 }],
  verdict: "worse",
  reasons: ["the median rises"],
  unreadable: 0,
  unrecorded: 0,
  recordsSinceMs: null,
  edgeSinceMs: null,
  isCutShort: false,
};

describe("renderComparison", () => {
  it("prints both sides of every figure", () => {
    const text = renderComparison(COMPARISON);
    expect(text).toMatch(/^Pool eu-1: worse\n  the median rises\n/);
    expect(text).toContain("200 decisions, of which 50 (25.0%) would go elsewhere");
    expect(text).toMatch(/predicted TTFT, median +100 ms +150 ms/);
    expect(text).toMatch(/90th percentile +900 ms +refused/);
    expect(text).toMatch(/found in caches +60\.0% +33\.3%/);
    expect(text).toMatch(/busiest endpoint over the mean +1\.00 +2\.50/);
    expect(text).toMatch(/fl-1 +10\.0\.0\.1:80 +82 +refused +-/);
    expect(text).toContain("200 × x-scorer learns from picks");
    expect(text).toContain("checked by 190 recorded requests");
    expect(text).toContain("decided by version 3 of the configuration");
  });

  it("counts one as one", () => {
    const { calibration } = COMPARISON;
    const one = { decisions: 1, disagreements: 0, calibration: { ...calibration, decisions: 1 } };
    const text = renderComparison({ ...COMPARISON, ...one });
    expect(text).toContain("  1 decision, of which 0 (0.0%) would go elsewhere");
    expect(text).toContain("checked by 1 recorded request:");
  });

  it("says how far back it reaches, and what is missing", () => {
    const recordsSinceMs = Date.UTC(2026, 10, 21, 11);
    const text = renderComparison({
      ...COMPARISON,
      recordsSinceMs,
      configVersions: { oldest: 2, newest: 3 },
      isCutShort: true,
      unreadable: 7,
      unrecorded: 90,
      edgeSinceMs: recordsSinceMs + 60_000,
      shards: { count: 2, missing: [1] },
    });
    expect(text).toContain("of 1 of 2 objects: 1 did not answer");
    expect(text).toContain("over 30 min");
    expect(text).toContain("records reach back to 2026-11-21T11:00:00.000Z");
    expect(text).toContain("decided by versions 2 to 3 of the configuration");
    expect(text).toContain("restarted meanwhile");
    expect(text).toContain("7 more could not be taken again");
    expect(text).toContain("what is known of the edge to 2026-11-21T11:01:00.000Z");
    expect(text).toContain("90 decisions at the edge cannot be compared");
  });

  it("has little to say without decisions", () => {
    const none = { oldestAtMs: null, newestAtMs: null, configVersions: null };
    const nothing = { decisions: 0, ...none, examples: [], notes: [] };
    const text = renderComparison({ ...COMPARISON, ...nothing, verdict: "unknown", reasons: [] });
    expect(text).toBe("Pool eu-1: cannot be told\n  no decision is on record\n");
  });
});
