// Line plots as SVG, one small panel for each workload.

import type { Figures } from "./outcome.ts";
import type { Row } from "./report.ts";
import { escape, line, round, scale, text } from "./svg.ts";

export interface PlotSpec {
  readonly title: string;
  readonly figure: keyof Figures;
  readonly isLogarithmic: boolean;
  /** What the axis says of a value. */
  readonly format: (value: number) => string;
}

const PANEL = { width: 260, height: 190, columns: 3 } as const;
/** Of a panel's lines, inside the panel. */
const MARGIN = { left: 46, right: 10, top: 26, bottom: 30 } as const;
const HEADER_HEIGHT = 30;
const LEGEND_ROW_HEIGHT = 18;
const LEGEND_COLUMNS = 4;

/** Workloads as panels, loads from left to right, a line for each policy. */
export function plot(rows: readonly Row[], spec: PlotSpec): string {
  const workloads = [...new Set(rows.map(({ workload }) => workload))];
  const policies = [...new Set(rows.map(({ policy }) => policy))].toSorted(oursFirst);
  const columns = Math.min(PANEL.columns, workloads.length);
  const panelRows = Math.ceil(workloads.length / columns);
  const width = columns * PANEL.width;
  const legendHeight = Math.ceil(policies.length / LEGEND_COLUMNS) * LEGEND_ROW_HEIGHT;
  const height = HEADER_HEIGHT + panelRows * PANEL.height + legendHeight + 10;
  const panels = workloads.map((workload, i) => {
    const x = (i % columns) * PANEL.width;
    const y = HEADER_HEIGHT + Math.floor(i / columns) * PANEL.height;
    const ofWorkload = rows.filter((row) => row.workload === workload);
    return `<g transform="translate(${x} ${y})">${panel(workload, ofWorkload, policies, spec)}</g>`;
  });
  const legend = policies.map((policy, i) => {
    const x = 12 + (i % LEGEND_COLUMNS) * (width / LEGEND_COLUMNS);
    const y = height - legendHeight + Math.floor(i / LEGEND_COLUMNS) * LEGEND_ROW_HEIGHT;
    return `${line(`M${x} ${y}h18`, i)}${text(x + 24, y + 4, policy)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="14">${escape(spec.title)}</text>`,
    ...panels,
    ...legend,
    "</svg>\n",
  ].join("\n");
}

function panel(
  workload: string,
  rows: readonly Row[],
  policies: readonly string[],
  spec: PlotSpec,
): string {
  const values = rows.map((row) => row[spec.figure]).filter((value) => isShown(value, spec));
  const loads = rows.map(({ load }) => load);
  const toX = scale(
    [Math.min(...loads), Math.max(...loads)],
    [MARGIN.left, PANEL.width - MARGIN.right],
  );
  const low = spec.isLogarithmic ? Math.log10(Math.min(...values)) : 0;
  const high = spec.isLogarithmic ? Math.log10(Math.max(...values)) : Math.max(...values);
  const toYOf = scale([low, high], [PANEL.height - MARGIN.bottom, MARGIN.top]);
  const toY = (value: number): number => toYOf(spec.isLogarithmic ? Math.log10(value) : value);
  const ticks = [0, 0.5, 1].map((share) => {
    const at = low + share * (high - low);
    const value = spec.isLogarithmic ? 10 ** at : at;
    const y = round(toYOf(at));
    const grid = `<path d="M${MARGIN.left} ${y}H${PANEL.width - MARGIN.right}" stroke="#ddd"/>`;
    return `${grid}${text(MARGIN.left - 4, y + 4, spec.format(value), "end")}`;
  });
  const marks = [...new Set(loads)].map((load) =>
    text(round(toX(load)), PANEL.height - MARGIN.bottom + 14, String(load), "middle"),
  );
  const lines = policies.map((policy, i) => {
    const points = rows
      .filter((row) => row.policy === policy && isShown(row[spec.figure], spec))
      .toSorted((a, b) => a.load - b.load)
      .map((row) => `${round(toX(row.load))} ${round(toY(row[spec.figure]))}`);
    return points.length === 0 ? "" : line(`M${points.join("L")}`, i);
  });
  const title = text(MARGIN.left, MARGIN.top - 8, workload);
  // Ours is drawn last, on top.
  return [title, ...ticks, ...marks, ...lines.toReversed()].join("");
}

/** What has no place on the axis is left out. */
function isShown(value: number, { isLogarithmic }: PlotSpec): boolean {
  return Number.isFinite(value) && (!isLogarithmic || value > 0);
}

function oursFirst(a: string, b: string): number {
  return Number(b === "ours") - Number(a === "ours");
}
