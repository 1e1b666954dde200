// Values over time as SVG, a panel for each variant, all to one scale: logarithmic upwards.

import { escape, line, round, scale, text } from "../svg.ts";

export interface Panel {
  readonly title: string;
  /** In the order of the names: seconds, and values over 0. */
  readonly lines: readonly (readonly (readonly [number, number])[])[];
}

const PANEL = { width: 260, height: 170, columns: 3 } as const;
const MARGIN = { left: 46, right: 10, top: 26, bottom: 26 } as const;
const HEADER_HEIGHT = 30;
const LEGEND_HEIGHT = 26;

export function timePlot(
  title: string,
  names: readonly string[],
  panels: readonly Panel[],
): string {
  const columns = Math.min(PANEL.columns, panels.length);
  const width = columns * PANEL.width;
  const height = HEADER_HEIGHT + Math.ceil(panels.length / columns) * PANEL.height + LEGEND_HEIGHT;
  const points = panels.flatMap(({ lines }) => lines.flat());
  const drawn = panels.map((panel, i) => {
    const x = (i % columns) * PANEL.width;
    const y = HEADER_HEIGHT + Math.floor(i / columns) * PANEL.height;
    return `<g transform="translate(${x} ${y})">${drawPanel(panel, points)}</g>`;
  });
  const legend = names.map((name, i) => {
    const x = 12 + (i * width) / names.length;
    const y = height - LEGEND_HEIGHT / 2;
    return `${line(`M${x} ${y}h18`, i)}${text(x + 24, y + 4, name)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="14">${escape(title)}</text>`,
    ...drawn,
    ...legend,
    "</svg>\n",
  ].join("\n");
}

function drawPanel(panel: Panel, all: readonly (readonly [number, number])[]): string {
  const times = all.map(([time]) => time);
  const logs = all.map(([, value]) => Math.log10(value));
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  const toX = scale([0, Math.max(...times)], [MARGIN.left, PANEL.width - MARGIN.right]);
  const toY = scale([low, high], [PANEL.height - MARGIN.bottom, MARGIN.top]);
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => {
    const y = round(toY(low + i));
    const grid = `<path d="M${MARGIN.left} ${y}H${PANEL.width - MARGIN.right}" stroke="#ddd"/>`;
    return `${grid}${text(MARGIN.left - 4, y + 4, String(Number((10 ** (low + i)).toPrecision(1))), "end")}`;
  });
  const marks = [0, 50, 100, 150].map((time) =>
    text(round(toX(time)), PANEL.height - MARGIN.bottom + 14, `${time} s`, "middle"),
  );
  const lines = panel.lines.map((points, i) => {
    const path = points.map(
      ([time, value]) => `${round(toX(time))} ${round(toY(Math.log10(value)))}`,
    );
    return path.length === 0 ? "" : line(`M${path.join("L")}`, i);
  });
  return [text(MARGIN.left, MARGIN.top - 8, panel.title), ...ticks, ...marks, ...lines].join("");
}
