import { describe, expect, it } from "vitest";
import { describe as describeRows } from "../../../bench/simulation/documentation.ts";
import { plot } from "../../../bench/simulation/plot.ts";
import type { Row } from "../../../bench/simulation/report.ts";
import { againstBest, compare } from "../../../bench/simulation/summary.ts";

const FIGURES = {
  ttft_mean: 1,
  ttft_p50: 1,
  ttft_p90: 1,
  ttft_p99: 1,
  tpot_mean: 0.04,
  tpot_p50: 0.04,
  tpot_p90: 0.04,
  tpot_p99: 0.04,
  offered: 10,
  goodput: 8,
  output_tokens_s: 1_000,
  hit_rate: 0.5,
  imbalance: 1,
  shed: 0,
};

const row = (workload: string, load: number, policy: string, changes: Partial<Row> = {}): Row => ({
  workload,
  load,
  rate: 10 * load,
  policy,
  ...FIGURES,
  ...changes,
});

const ROWS = [
  row("a", 0.3, "ours", { ttft_p90: 100 }),
  row("a", 0.3, "other"),
  row("a", 0.8, "ours", { ttft_p90: 2 }),
  row("a", 0.8, "other", { ttft_p90: 8, goodput: 2 }),
  row("a", 1, "ours", { ttft_p90: 1 }),
  row("a", 1, "other", { ttft_p90: 4, goodput: 0 }),
  row("b", 0.8, "ours", { ttft_p90: 1 }),
  row("b", 0.8, "other", { ttft_p90: 0.25 }),
  row("b", 0.8, "oracle", { ttft_p90: 0.1 }),
];

describe("compare", () => {
  it("takes geometric means of ratios at high loads, by workload and over them", () => {
    const other = compare(ROWS).filter(({ policy }) => policy === "other");
    expect(other.map(({ workload }) => workload)).toEqual(["", "a", "b"]);
    expect(other.map(({ ttftP90 }) => ttftP90)).toEqual([1, 4, 0.25].map((x) => expect.closeTo(x)));
    // 8/2 at 0.8; at 1 nothing was good, which counts as 1% of ten requests a second.
    expect(other[1]!.goodput).toBeCloseTo(Math.sqrt(4 * 80));
  });

  it("looks for the best baseline, which the oracle is not", () => {
    const best = againstBest(compare(ROWS)).filter(({ workload }) => workload === "b");
    expect(best.map(({ policy }) => policy)).toEqual(["other", "other"]);
    expect(best[0]!.ttftP90).toBeCloseTo(0.25);
  });
});

describe("plot", () => {
  const svg = plot(ROWS, {
    title: "a < b & c",
    figure: "ttft_p90",
    isLogarithmic: true,
    format: String,
  });

  it("has a panel for each workload and a line for each policy", () => {
    expect(svg.match(/<g /g)).toHaveLength(2);
    // Two lines in the first panel, one that is not alone a dot in each of the second, and a legend.
    expect(svg.match(/stroke="#d55e00"/g)!.length).toBe(3);
    expect(svg).toContain("a &lt; b &amp; c");
  });

  it("draws no number that is none", () => {
    expect(svg).not.toMatch(/NaN|Infinity/);
    const rows = [row("a", 1, "ours", { ttft_p90: Infinity }), row("a", 1, "other")];
    const spec = { title: "", figure: "ttft_p90", isLogarithmic: true, format: String } as const;
    expect(plot(rows, spec)).not.toMatch(/NaN|Infinity/);
  });
});

it("the documentation has a table of means, of the best, and of each workload", () => {
  const slo = { ttftMs: 1_000, tpotMs: 100 };
  const workload = { name: "a", about: "About a.", slo, saturationRate: 10, create: () => [] };
  const text = describeRows(ROWS, [workload]);
  expect(text).toContain("| other  | 1.00");
  expect(text).toContain("| b        | 0.25 × other");
  expect(text).toContain("**a** at 10.0 requests/s (1 of saturation). About a.");
  expect(text).toContain("plots/simulation-ttft-p90.svg");
});
