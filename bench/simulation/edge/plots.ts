// Plots of runs at the edge.

import { plot } from "../plot.ts";
import type { Row } from "../report.ts";
import { area, escape, round, text } from "../svg.ts";
import type { EdgeJobResult } from "./job.ts";

const TTFT_TITLE = "Time to first token, p90 in seconds, by ms from isolates to the pool and back";
const REASONS_TITLE = "Where requests are decided by the rule, and why, by ms to the pool and back";

/** Titles and files. */
export const EDGE_PLOT_TITLES = [
  [TTFT_TITLE, "edge-ttft-p90.svg"],
  [REASONS_TITLE, "edge-reasons.svg"],
] as const;

/** Ways to the pool from left to right, a line for each way to decide. */
export function ttftPlot(results: readonly EdgeJobResult[]): string {
  const rows = results.map(({ job, figures }): Row => {
    const { scenario: workload, way: policy, rttMs = 0 } = job;
    return { ...figures, workload, policy, load: rttMs, rate: figures.offered };
  });
  return plot(rows, {
    title: TTFT_TITLE,
    figure: "ttft_p90",
    isLogarithmic: false,
    format: (value) => value.toFixed(2),
  });
}

const PANEL = { width: 300, height: 190 } as const;
const MARGIN = { left: 46, top: 26, bottom: 30, right: 10 } as const;
const HEADER_HEIGHT = 30;
const LEGEND_ROW_HEIGHT = 18;
const LEGEND_COLUMNS = 3;

/** A bar for each way to the pool, a part for each reason. */
export function reasonsPlot(results: readonly EdgeJobResult[]): string {
  const scenarios = [...new Set(results.map(({ job }) => job.scenario))];
  const reasons = [...new Set(results.flatMap(({ figures }) => Object.keys(figures.reasons)))];
  const width = Math.max(1, scenarios.length) * PANEL.width;
  const legendHeight = Math.ceil(reasons.length / LEGEND_COLUMNS) * LEGEND_ROW_HEIGHT;
  const height = HEADER_HEIGHT + PANEL.height + legendHeight + 10;
  const panels = scenarios.map((scenario, i) => {
    const bars = results.filter(({ job }) => job.scenario === scenario);
    const drawn = reasonsPanel(scenario, bars, reasons);
    return `<g transform="translate(${i * PANEL.width} ${HEADER_HEIGHT})">${drawn}</g>`;
  });
  const legend = reasons.map((reason, i) => {
    const x = 12 + (i % LEGEND_COLUMNS) * (width / LEGEND_COLUMNS);
    const y = height - legendHeight + Math.floor(i / LEGEND_COLUMNS) * LEGEND_ROW_HEIGHT;
    return `${area({ x, y: y - 8, width: 14, height: 10 }, i)}${text(x + 20, y, reason)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="14">${escape(REASONS_TITLE)}</text>`,
    ...panels,
    ...legend,
    "</svg>\n",
  ].join("\n");
}

function reasonsPanel(
  title: string,
  bars: readonly EdgeJobResult[],
  reasons: readonly string[],
): string {
  const inner = PANEL.height - MARGIN.top - MARGIN.bottom;
  const step = (PANEL.width - MARGIN.left - MARGIN.right) / Math.max(1, bars.length);
  const ticks = [0, 0.5, 1].map((share) => {
    const y = round(PANEL.height - MARGIN.bottom - share * inner);
    return text(MARGIN.left - 4, y + 4, `${100 * share}%`, "end");
  });
  const drawn = bars.map(({ job, figures }, i) => {
    const x = round(MARGIN.left + i * step + step * 0.15);
    let y = PANEL.height - MARGIN.bottom;
    const parts = reasons.map((reason, index) => {
      const height = inner * (figures.reasons[reason] ?? 0);
      y -= height;
      return area({ x, y: round(y), width: round(step * 0.7), height: round(height) }, index);
    });
    const label = text(
      round(x + step * 0.35),
      PANEL.height - MARGIN.bottom + 14,
      `${job.rttMs}`,
      "middle",
    );
    return `${parts.join("")}${label}`;
  });
  return [text(MARGIN.left, MARGIN.top - 8, title), ...ticks, ...drawn].join("");
}
