// Runs each way in each scenario at the edge, and prints or documents what comes of it.

import { Worker } from "node:worker_threads";
import { markdownTable, writePlot, writeSection } from "../documentation.ts";
import { runInThreads } from "../threads.ts";
import { type EdgeFigures, meanEdgeFigures } from "./figures.ts";
import { type EdgeJob, type EdgeJobResult, findScenario, runEdgeJob } from "./job.ts";
import { EDGE_PLOT_TITLES, reasonsPlot, ttftPlot } from "./plots.ts";
import {
  EDGE_SCENARIOS,
  type EdgeScenario,
  ISOLATES_PER_COLO,
  RTTS_MS,
  SHARD_WORKLOADS,
  shardScenario,
  SHARDS,
} from "./scenarios.ts";
import { AUTO } from "./ways.ts";
import { EDGE_WORKLOADS } from "./workloads.ts";

const SEEDS = [1, 2, 3] as const;
/** What the goals are about: run on all seeds, and swept by the way to the pool. All else is run on the first seed. */
const SWEPT: readonly string[] = ["trace", "chat"];
const SWEPT_WAYS: readonly string[] = ["auto", "instant", "ask"];
/** Of the requests of a run in a sweep: its figures are compared with those beside them. */
const SWEEP_SHARE = 1 / 2;

interface Output {
  readonly print: (text: string) => void;
  /** For progress. */
  readonly complain: (text: string) => void;
}

/** `isQuick`: a glance at one scenario with few requests. */
export async function runEdge(
  { isDocumented, isQuick }: { readonly isDocumented: boolean; readonly isQuick: boolean },
  { print, complain }: Output,
): Promise<void> {
  if (isQuick) return print(quickReport());
  const jobs = [...scenarioJobs(), ...shardJobs(), ...rttJobs(), ...isolateJobs()];
  let done = 0;
  const results = await runInThreads<EdgeJob, EdgeJobResult>(
    jobs,
    () => new Worker(new URL("thread.ts", import.meta.url)),
    ({ job, wallMs }) => {
      const took = `${(wallMs / 1_000).toFixed(1)} s`;
      complain(`${++done}/${jobs.length} ${job.scenario} ${job.way} seed ${job.seed} ${took}`);
    },
  );
  print(describe(results));
  if (isDocumented) documentEdge(results);
}

/** Writes what there are results of. */
export function documentEdge(results: readonly EdgeJobResult[]): void {
  const text = describe(results);
  const swept = rttResults(results);
  if (swept.length === 0) return writeSection("edge", "--edge --write-docs", text);
  writePlot("edge-ttft-p90.svg", ttftPlot(swept));
  writePlot("edge-reasons.svg", reasonsPlot(swept.filter(({ job }) => job.way === AUTO.name)));
  const images = EDGE_PLOT_TITLES.map(([title, file]) => `![${title}](plots/${file})`);
  writeSection("edge", "--edge --write-docs", [text, ...images].join("\n\n"));
}

function jobsOf({ name, ways }: EdgeScenario): EdgeJob[] {
  return SEEDS.flatMap((seed) =>
    ways
      .filter((way) => seed === SEEDS[0] || (SWEPT.includes(name) && SWEPT_WAYS.includes(way.name)))
      .map((way) => ({ scenario: name, way: way.name, seed })),
  );
}

function scenarioJobs(): EdgeJob[] {
  return EDGE_SCENARIOS.flatMap(jobsOf);
}

function shardJobs(): EdgeJob[] {
  return SHARD_WORKLOADS.flatMap((workload) => [
    ...jobsOf(shardScenario(workload, 1)).filter(({ way }) => !way.includes("first block")),
    ...jobsOf(shardScenario(workload, SHARDS)),
  ]);
}

function rttJobs(): EdgeJob[] {
  return SWEPT.flatMap((scenario) =>
    RTTS_MS.flatMap((rttMs) =>
      SWEPT_WAYS.map((way) => ({ ...sweepJob(scenario), way, seed: SEEDS[0], rttMs })),
    ),
  );
}

function sweepJob(scenario: string): Pick<EdgeJob, "scenario" | "requests"> {
  const { requests } = EDGE_WORKLOADS.find(({ name }) => name === scenario)!;
  return { scenario, requests: requests * SWEEP_SHARE };
}

function isolateJobs(): EdgeJob[] {
  return ISOLATES_PER_COLO.map((isolatesPerColo) => {
    return { ...sweepJob("chat"), way: AUTO.name, seed: SEEDS[0], isolatesPerColo };
  });
}

function rttResults(results: readonly EdgeJobResult[]): EdgeJobResult[] {
  return results.filter(({ job }) => job.rttMs !== undefined);
}

const QUICK = { requests: 1_200, endpointCount: 12, isolatesPerColo: 6 } as const;
const QUICK_WAYS = ["auto", "instant", "ask"] as const;

function quickReport(): string {
  const scenario = findScenario("chat");
  const rows = QUICK_WAYS.map((way) => {
    return { name: way, runs: [runEdgeJob({ scenario: "chat", way, seed: 1, ...QUICK }).figures] };
  });
  return section(`**${scenario.name}**, small`, rows);
}

interface Shown {
  readonly name: string;
  readonly runs: readonly EdgeFigures[];
}

function describe(results: readonly EdgeJobResult[]): string {
  const plain = results.filter(
    ({ job }) => job.rttMs === undefined && job.isolatesPerColo === undefined,
  );
  const runsOf = (scenario: string, way: string) =>
    plain
      .filter(({ job }) => job.scenario === scenario && job.way === way)
      .map(({ figures }) => figures);
  const sections = EDGE_SCENARIOS.map((scenario) => {
    const { name, about, ways } = scenario;
    const rows = ways
      .map((way) => ({ name: way.name, runs: runsOf(name, way.name) }))
      .filter(({ runs }) => runs.length > 0);
    return section(`**${name}**. ${about}`, rows);
  });
  const sharded = SHARD_WORKLOADS.map((workload) => {
    const rows = [1, SHARDS].flatMap((shards) => {
      const { name, ways } = shardScenario(workload, shards);
      return ways
        .map((way) => ({ name: `${way.name}, ${shards}`, runs: runsOf(name, way.name) }))
        .filter(({ runs }) => runs.length > 0);
    });
    return shardSection(`**${workload}**, one object and ${SHARDS}`, rows);
  });
  return [...sections, boundsText(runsOf), ...sharded, costTable(results)].join("\n\n");
}

function boundsText(runsOf: (scenario: string, way: string) => readonly EdgeFigures[]): string {
  const { ways } = findScenario(BOUNDS);
  const shown = ways.filter(({ name }) => runsOf(BOUNDS, name).length > 0);
  const body = shown.map(({ name }) => {
    const { overshoot, outstanding, violations } = meanEdgeFigures(runsOf(BOUNDS, name));
    const over = String(Math.max(0, overshoot));
    return [name, over, outstanding.toFixed(0), violations.toFixed(0)];
  });
  const heads = ["Way", "Over an endpoint's bound", "Credit outstanding", "Over by more than that"];
  return `Requests of **${BOUNDS}**, at most in any run, and how often.\n\n${markdownTable(heads, body)}`;
}
const BOUNDS = "bounds";

const HEADS = [
  "Way",
  "Local",
  "TTFT p50",
  "p90",
  "p99",
  "Goodput",
  "Hits",
  "Of the best",
  "Shed",
  "Why",
] as const;

function section(title: string, rows: readonly Shown[]): string {
  const body = rows.map(({ name, runs }) => {
    const figures = meanEdgeFigures(runs);
    const spread = spreadOf(runs.map(({ ttft_p90 }) => ttft_p90));
    return [
      name,
      percent(figures.local),
      milliseconds(figures.ttft_p50),
      `${milliseconds(figures.ttft_p90)}${spread}`,
      milliseconds(figures.ttft_p99),
      percent(figures.goodput / figures.offered),
      percent(figures.hit_rate),
      percent(figures.found),
      percent(figures.shed),
      reasonsOf(figures),
    ];
  });
  return `${title}.\n\n${markdownTable(HEADS, body)}`;
}

const SHARD_HEADS = [
  "Way, objects",
  "Local",
  "TTFT p50",
  "p90",
  "p99",
  "Hits",
  "Busiest object",
  "Changes of splits",
] as const;

function shardSection(title: string, rows: readonly Shown[]): string {
  const body = rows.map(({ name, runs }) => {
    const figures = meanEdgeFigures(runs);
    return [
      name,
      percent(figures.local),
      milliseconds(figures.ttft_p50),
      `${milliseconds(figures.ttft_p90)}${spreadOf(runs.map(({ ttft_p90 }) => ttft_p90))}`,
      milliseconds(figures.ttft_p99),
      percent(figures.hit_rate),
      `${figures.shardImbalance.toFixed(2)} ×`,
      figures.splitChanges.toFixed(1),
    ];
  });
  return `${title}.\n\n${markdownTable(SHARD_HEADS, body)}`;
}

function costTable(results: readonly EdgeJobResult[]): string {
  const rows = results
    .filter(({ job }) => job.isolatesPerColo !== undefined)
    .map(({ job, figures }) => {
      const isolates = 3 * job.isolatesPerColo!;
      return [
        String(isolates),
        (figures.offered / isolates).toFixed(2),
        percent(figures.local),
        milliseconds(figures.ttft_p90),
        figures.syncs.toFixed(0),
        (figures.commitBytes / 1_000).toFixed(0),
        (figures.snapshotBytes / 1_000).toFixed(0),
      ];
    });
  const heads = [
    "Isolates",
    "Requests/s each",
    "Local",
    "TTFT p90",
    "Calls/s",
    "kB/s to the object",
    "kB/s from it",
  ];
  const title =
    "What telling costs an object, by the number of isolates that share chat's requests";
  return `${title}.\n\n${markdownTable(heads, rows)}`;
}

/** Half of what seeds differ by. */
function spreadOf(values: readonly number[]): string {
  if (values.length < 2) return "";
  const half = (Math.max(...values) - Math.min(...values)) / 2;
  return ` ± ${(1_000 * half).toFixed(0)}`;
}

/** Those that matter, most first. */
function reasonsOf({ reasons, calledOffShare }: EdgeFigures): string {
  const calledOff = ` (of them ${percent(calledOffShare)} called off)`;
  return Object.entries(reasons)
    .filter(([, share]) => share >= REASON_SHARE_MIN)
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, share]) => {
      return `${reason} ${percent(share)}${reason === "asked-meanwhile" ? calledOff : ""}`;
    })
    .join(", ");
}
const REASON_SHARE_MIN = 0.01;

const percent = (share: number) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
const milliseconds = (seconds: number) => `${(1_000 * seconds).toFixed(0)} ms`;
