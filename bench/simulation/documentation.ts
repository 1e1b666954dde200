// Writes the figures of a run into docs/performance.md, and its plots beside it.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { plot, type PlotSpec } from "./plot.ts";
import type { Row } from "./report.ts";
import { againstBest, type Comparison, compare, LOAD_MIN } from "./summary.ts";
import type { Workload } from "./workload.ts";

const DOCUMENT = "docs/performance.md";
const PLOT_FOLDER = "docs/plots";

/** The load of the tables by workload. */
const TABLE_LOAD = 1;

/** Two digits, and no exponent for what is large. */
function digits(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

const PLOTS: readonly (PlotSpec & { readonly file: string })[] = [
  {
    file: "simulation-ttft-p90.svg",
    title: "Time to first token, p90 in seconds (logarithmic), by share of the saturation rate",
    figure: "ttft_p90",
    isLogarithmic: true,
    format: digits,
  },
  {
    file: "simulation-goodput.svg",
    title: "Goodput: requests a second within the SLO, by share of the saturation rate",
    figure: "goodput",
    isLogarithmic: false,
    format: digits,
  },
  {
    file: "simulation-hit-rate.svg",
    title: "Prompt tokens found in an engine's cache, by share of the saturation rate",
    figure: "hit_rate",
    isLogarithmic: false,
    format: (value) => value.toFixed(2),
  },
];

/** Replaces what stands between the markers; everything else in the document is people's. */
export function writeDocumentation(rows: readonly Row[], workloads: readonly Workload[]): void {
  writeSection("simulation", "--write-docs", describe(rows, workloads));
  for (const { file, ...spec } of PLOTS) writePlot(file, plot(rows, spec));
}

/** Replaces what stands between the markers of `name`, which `flags` write. */
export function writeSection(name: string, flags: string, text: string): void {
  const document = readFileSync(DOCUMENT, "utf8");
  const beginMark = `<!-- ${name}: begin, written by npm run bench:simulation -- ${flags} -->`;
  const begin = document.indexOf(beginMark);
  const end = document.indexOf(`<!-- ${name}: end -->`);
  if (begin < 0 || end < begin) throw new Error(`${DOCUMENT} lacks the markers of ${name}.`);
  const before = document.slice(0, begin + beginMark.length);
  writeFileSync(DOCUMENT, `${before}\n\n${text}\n\n${document.slice(end)}`);
}

export function writePlot(file: string, svg: string): void {
  mkdirSync(PLOT_FOLDER, { recursive: true });
  writeFileSync(`${PLOT_FOLDER}/${file}`, svg);
}

/** The part between the markers. */
export function describe(rows: readonly Row[], workloads: readonly Workload[]): string {
  const comparisons = compare(rows);
  const images = PLOTS.map(({ file, title }) => `![${title}](plots/${file})`);
  const tables = workloads.map((workload) => workloadTable(workload, rows)).filter((t) => t !== "");
  return [
    `Ours beside each policy: geometric means of ratios over the workloads at ${LOAD_MIN} of saturation and ` +
      "above. Above 1, ours is that many times better.",
    meansTable(comparisons),
    "By workload, ours beside whoever is best there but the oracle. Below 1, ours is worse.",
    bestTable(comparisons),
    ...images,
    ...tables,
  ].join("\n\n");
}

function meansTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons
    .filter(({ workload }) => workload === "")
    .map(({ policy, ttftP90, goodput }) => [policy, ratio(ttftP90), ratio(goodput)]);
  return markdownTable(["Policy", "TTFT p90", "Goodput"], rows);
}

function bestTable(comparisons: readonly Comparison[]): string {
  const best = againstBest(comparisons);
  const rows: string[][] = [];
  for (let i = 0; i < best.length; i += 2) {
    const byTtft = best[i]!;
    const byGoodput = best[i + 1]!;
    rows.push([
      byTtft.workload,
      `${ratio(byTtft.ttftP90)} × ${byTtft.policy}`,
      `${ratio(byGoodput.goodput)} × ${byGoodput.policy}`,
    ]);
  }
  return markdownTable(["Workload", "TTFT p90", "Goodput"], rows);
}

function workloadTable({ name, about, slo }: Workload, rows: readonly Row[]): string {
  const shown = rows.filter(({ workload, load }) => workload === name && load === TABLE_LOAD);
  if (shown.length === 0) return "";
  const heads = [
    "Policy",
    "TTFT p50",
    "p90",
    "p99",
    "TPOT p50",
    "p99",
    "Goodput/s",
    "Tokens/s",
    "Hits",
  ];
  const body = shown.map((row) => [
    row.policy,
    seconds(row.ttft_p50),
    seconds(row.ttft_p90),
    seconds(row.ttft_p99),
    milliseconds(row.tpot_p50),
    milliseconds(row.tpot_p99),
    row.goodput.toFixed(2),
    row.output_tokens_s.toFixed(0),
    `${(100 * row.hit_rate).toFixed(0)}%`,
  ]);
  const rate = shown[0]!.rate.toFixed(1);
  const goal = `SLO: ${slo.ttftMs / 1_000} s to the first token, ${slo.tpotMs} ms between tokens.`;
  return `**${name}** at ${rate} requests/s (${TABLE_LOAD} of saturation). ${about} ${goal}\n\n${markdownTable(heads, body)}`;
}

/** Columns padded as oxfmt pads them. */
export function markdownTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, i) => Math.max(3, ...all.map((row) => row[i]!.length)));
  const write = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [write(heads), write(rule), ...rows.map(write)].join("\n");
}

const ratio = (value: number) => value.toFixed(2);
const seconds = (value: number) => `${digits(value)} s`;
const milliseconds = (value: number) => `${(1_000 * value).toFixed(0)} ms`;
