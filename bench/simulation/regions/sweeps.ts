// What more or less knowledge of other regions is worth: ours on a day, with one thing changed at a time.

import { escape, line, round, scale, text } from "../svg.ts";
import { NO_DIGESTS, type RegionalJob, type RegionalResult } from "./job.ts";
import { type Topology, TOPOLOGY } from "./topology.ts";

export interface SweepPoint {
  readonly label: string;
  readonly topology: Partial<Topology>;
  readonly choice?: string;
}

export interface Sweep {
  readonly title: string;
  readonly points: readonly SweepPoint[];
}

const KIB = 1_024;

export const SWEEPS: readonly Sweep[] = [
  {
    title: "Bytes of a digest at most",
    points: [
      { label: "none", topology: {}, choice: NO_DIGESTS },
      ...[0.25, 1, 4, 16, 32].map((kib) => ({
        label: kib < 1 ? `${kib * KIB} B` : `${kib} KiB`,
        topology: { digestBytesMax: kib * KIB },
      })),
    ],
  },
  {
    title: "Seconds between two digests",
    points: [2, 5, 10, 30].map((s) => ({
      label: `${s} s`,
      topology: { digestIntervalMs: 1_000 * s },
    })),
  },
  {
    title: "Seconds between two summaries, and two readings",
    points: [0.5, 1, 2, 5, 10].map((s) => ({
      label: `${s} s`,
      topology: { summaryIntervalMs: 1_000 * s },
    })),
  },
];

const SCENARIO = "day";

/** Points that are the topology as it is are run once, with the comparison. */
export function sweepJobs(seeds: readonly number[]): RegionalJob[] {
  const points = SWEEPS.flatMap(({ points: each }) => each).filter((point) => !isBase(point));
  return points.flatMap((point) => seeds.map((seed) => jobOf(point, seed)));
}

export interface SweepRow {
  readonly label: string;
  readonly ttftP50: number;
  readonly ttftP90: number;
  readonly hitRate: number;
}

/** Means over seeds. */
export function sweepRows({ points }: Sweep, results: readonly RegionalResult[]): SweepRow[] {
  return points.map((point) => {
    const wanted = key(jobOf(point, 0));
    const found = results.filter(({ job }) => key({ ...job, seed: 0 }) === wanted);
    const mean = (of: (result: RegionalResult) => number) =>
      found.reduce((sum, result) => sum + of(result), 0) / found.length;
    return {
      label: point.label,
      ttftP50: mean(({ figures }) => figures.ttft_p50),
      ttftP90: mean(({ figures }) => figures.ttft_p90),
      hitRate: mean(({ figures }) => figures.hit_rate),
    };
  });
}

function jobOf(point: SweepPoint, seed: number): RegionalJob {
  const topology = isBase(point) ? {} : point.topology;
  return { scenario: SCENARIO, choice: point.choice ?? "ours", seed, load: 1, topology };
}

function isBase({ topology, choice }: SweepPoint): boolean {
  const changed = Object.entries(topology) as [keyof Topology, unknown][];
  return choice === undefined && changed.every(([name, value]) => TOPOLOGY[name] === value);
}

function key({ scenario, choice, load, topology }: RegionalJob): string {
  return JSON.stringify([scenario, choice, load, topology]);
}

const PANEL = { width: 260, height: 170 } as const;
const MARGIN = { left: 46, right: 14, top: 30, bottom: 26 } as const;
const HEADER_HEIGHT = 30;

/** A column for each sweep: times to the first token above, hit rates below. */
export function sweepPlot(title: string, all: readonly (readonly SweepRow[])[]): string {
  const width = all.length * PANEL.width;
  const height = HEADER_HEIGHT + 2 * PANEL.height;
  const figures = [
    { of: (row: SweepRow) => row.ttftP90, format: (value: number) => `${value.toFixed(2)} s` },
    { of: (row: SweepRow) => row.hitRate, format: (value: number) => value.toFixed(2) },
  ];
  const panels = figures.flatMap(({ of, format }, y) => {
    const values = all.flat().map(of);
    const range = [0.9 * Math.min(...values), 1.02 * Math.max(...values)] as const;
    return all.map((rows, x) => {
      const drawn = drawPanel(rows, of, { range, format, title: SWEEPS[x]!.title });
      const at = `${x * PANEL.width} ${HEADER_HEIGHT + y * PANEL.height}`;
      return `<g transform="translate(${at})">${drawn}</g>`;
    });
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="14">${escape(title)}</text>`,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

interface Axis {
  readonly range: readonly [number, number];
  readonly format: (value: number) => string;
  readonly title: string;
}

function drawPanel(
  rows: readonly SweepRow[],
  of: (row: SweepRow) => number,
  { range, format, title }: Axis,
): string {
  const toX = scale([0, rows.length - 1], [MARGIN.left, PANEL.width - MARGIN.right]);
  const toY = scale(range, [PANEL.height - MARGIN.bottom, MARGIN.top]);
  const ticks = range.map((value) => {
    const y = round(toY(value));
    const grid = `<path d="M${MARGIN.left} ${y}H${PANEL.width - MARGIN.right}" stroke="#ddd"/>`;
    return `${grid}${text(MARGIN.left - 4, y + 4, format(value), "end")}`;
  });
  const marks = rows.map(({ label }, i) =>
    text(round(toX(i)), PANEL.height - MARGIN.bottom + 14, label, "middle"),
  );
  const path = rows.map((row, i) => `${round(toX(i))} ${round(toY(of(row)))}`).join("L");
  return [text(MARGIN.left, MARGIN.top - 10, title), ...ticks, ...marks, line(`M${path}`, 0)].join(
    "",
  );
}
