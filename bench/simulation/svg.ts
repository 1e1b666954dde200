// Parts of plots as SVG.

/** Okabe and Ito's, which most eyes can tell apart; the first is ours. */
const COLOURS = [
  "#d55e00",
  "#0072b2",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#000000",
  "#999999",
  "#8c6d31",
  "#5254a3",
  "#b5cf6b",
] as const;

export function scale(
  [fromLow, fromHigh]: readonly [number, number],
  [toLow, toHigh]: readonly [number, number],
): (value: number) => number {
  const span = fromHigh - fromLow || 1;
  return (value) => toLow + ((value - fromLow) / span) * (toHigh - toLow);
}

export function line(path: string, index: number): string {
  const width = index === 0 ? 2.5 : 1.4;
  const colour = COLOURS[index % COLOURS.length]!;
  return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}"/>`;
}

export function text(x: number, y: number, content: string, anchor = "start"): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escape(content)}</text>`;
}

export function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export function area({ x, y, width, height }: Box, index: number): string {
  const colour = COLOURS[index % COLOURS.length]!;
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${colour}"/>`;
}
