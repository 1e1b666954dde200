// Runs each choice in each scenario, and prints or documents what comes of it.

import { Worker } from "node:worker_threads";
import { markdownTable, writePlot, writeSection } from "../documentation.ts";
import { plot } from "../plot.ts";
import type { Row } from "../report.ts";
import { runInThreads } from "../threads.ts";
import type { PoolChoiceDefinition } from "./choice.ts";
import { CHOICES } from "./choices.ts";
import { meanRegionalFigures, type RegionalFigures } from "./figures.ts";
import { type RegionalJob, type RegionalResult, runRegionalJob } from "./job.ts";
import { SCENARIOS, type RegionalScenario, SLO } from "./scenarios.ts";
import { marksWithoutEnd, runStuckOverload } from "./stuck-overload.ts";
import { SWEEPS, sweepJobs, sweepPlot, sweepRows } from "./sweeps.ts";

const SEEDS = [1, 2, 3] as const;
const SWEEP_SEEDS = SEEDS.slice(0, 2);
/** Of the plots besides the tables' load of 1, by one seed. */
const LOADS = [0.6, 0.8] as const;
const PLOTTED = ["day", "overload"] as const;
const OURS = CHOICES[0]!;

const TTFT_PLOT = "regions-ttft-p90.svg";
const TTFT_TITLE =
  "Three regions: TTFT p90 in seconds (logarithmic), by share of each scenario's rate";
const GOODPUT_PLOT = "regions-goodput.svg";
const GOODPUT_TITLE =
  "Three regions: requests a second within the SLO, by share of each scenario's rate";
const SWEEP_PLOT = "regions-knowledge.svg";
const SWEEP_TITLE = "Three regions: TTFT p90 and hit rate, by what is known of other regions";

interface Output {
  readonly print: (text: string) => void;
  /** For progress. */
  readonly complain: (text: string) => void;
}

type RunJobs = (
  jobs: readonly RegionalJob[],
  onResult: (result: RegionalResult) => void,
) => Promise<RegionalResult[]>;

/** On all processors. */
const runInParallel: RunJobs = (jobs, onResult) => {
  const open = () => new Worker(new URL("thread.ts", import.meta.url));
  return runInThreads(jobs, open, onResult);
};

/** `isQuick`: a glance at one scenario with few requests. */
export async function runRegions(
  { isDocumented, isQuick }: { readonly isDocumented: boolean; readonly isQuick: boolean },
  { print, complain }: Output,
): Promise<void> {
  if (isQuick) return print(quickReport());
  const jobs = [...comparisonJobs(SEEDS), ...sweepJobs(SWEEP_SEEDS)];
  const plotted = isDocumented ? plotJobs() : [];
  let done = 0;
  const count = jobs.length + plotted.length;
  const results = await runInParallel([...jobs, ...plotted], ({ job, wallMs }) => {
    const { scenario, choice, seed, load } = job;
    const took = `${(wallMs / 1_000).toFixed(1)} s`;
    complain(`${++done}/${count} ${scenario} ${load} ${choice} seed ${seed} ${took}`);
  });
  const text = describe(results);
  print(text);
  if (!isDocumented) return;
  const rows = plotRows(results);
  writePlot(TTFT_PLOT, plot(rows, { ...PLOT, title: TTFT_TITLE, figure: "ttft_p90" }));
  writePlot(
    GOODPUT_PLOT,
    plot(rows, { ...PLOT, title: GOODPUT_TITLE, figure: "goodput", isLogarithmic: false }),
  );
  const sweeps = SWEEPS.map((sweep) => sweepRows(sweep, swept(results)));
  writePlot(SWEEP_PLOT, sweepPlot(SWEEP_TITLE, sweeps));
  const images = [
    [TTFT_TITLE, TTFT_PLOT],
    [GOODPUT_TITLE, GOODPUT_PLOT],
    [SWEEP_TITLE, SWEEP_PLOT],
  ].map(([title, file]) => `![${title}](plots/${file})`);
  writeSection("regions", "--regions --write-docs", [text, ...images].join("\n\n"));
}

/** Runs of the topology as it is are part of sweeps, by as many seeds as these. */
function swept(results: readonly RegionalResult[]): RegionalResult[] {
  return results.filter(({ job }) => SWEEP_SEEDS.some((seed) => seed === job.seed));
}

const PLOT = {
  isLogarithmic: true,
  format: (value: number) =>
    value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2))),
};

function comparisonJobs(seeds: readonly number[]): RegionalJob[] {
  return SCENARIOS.flatMap(({ name: scenario }) =>
    seeds.flatMap((seed) =>
      CHOICES.map(({ name: choice }) => ({ scenario, choice, seed, load: 1, topology: {} })),
    ),
  );
}

function plotJobs(): RegionalJob[] {
  return PLOTTED.flatMap((scenario) =>
    LOADS.flatMap((load) =>
      CHOICES.map(({ name: choice }) => ({ scenario, choice, seed: SEEDS[0], load, topology: {} })),
    ),
  );
}

/** Those of the first seed, so that all loads are of the same part of the trace. */
function plotRows(results: readonly RegionalResult[]): Row[] {
  const isPlotted = ({ job }: RegionalResult) =>
    PLOTTED.some((name) => name === job.scenario) &&
    job.seed === SEEDS[0] &&
    CHOICES.some(({ name }) => name === job.choice) &&
    Object.keys(job.topology).length === 0;
  return results.filter(isPlotted).map(({ job, figures }) => ({
    ...figures,
    workload: job.scenario,
    policy: job.choice,
    load: job.load,
    rate: figures.offered,
  }));
}

const QUICK_REQUESTS = 400;
const QUICK_CHOICES = ["ours", "nearest", "least loaded"] as const;

function quickReport(): string {
  const scenario = SCENARIOS.find(({ name }) => name === "overload")!;
  const rows = QUICK_CHOICES.map((choice) => {
    const job = { scenario: scenario.name, choice, seed: 1, load: 1, topology: {} };
    return { choice, ...runRegionalJob({ ...job, requests: QUICK_REQUESTS }).figures };
  });
  return section(scenario, rows);
}

function describe(results: readonly RegionalResult[]): string {
  const about = CHOICES.map((choice) => [choice.name, aboutOf(choice)]);
  const sections = SCENARIOS.map((scenario) => {
    const rows = CHOICES.map(({ name: choice }) => {
      const of = results.filter(
        ({ job }) =>
          job.scenario === scenario.name &&
          job.choice === choice &&
          job.load === 1 &&
          Object.keys(job.topology).length === 0,
      );
      return { choice, ...meanRegionalFigures(of.map(({ figures }) => figures)) };
    });
    return section(scenario, rows);
  });
  const sweeps = SWEEPS.map((sweep) => {
    const body = sweepRows(sweep, swept(results)).map(({ label, ttftP50, ttftP90, hitRate }) => [
      label,
      seconds(ttftP50),
      seconds(ttftP90),
      percent(hitRate),
    ]);
    return markdownTable([sweep.title, "TTFT p50", "p90", "Hits"], body);
  });
  return [markdownTable(["Choice", "How"], about), ...sections, stuck(), ...sweeps].join("\n\n");
}

function aboutOf({ about }: PoolChoiceDefinition): string {
  return about.replace(/\.$/, "");
}

const HEADS = [
  "Choice",
  "TTFT p50",
  "p90",
  "p99",
  "TPOT p90",
  "Goodput/s",
  "Hits",
  "Elsewhere",
  "Moved",
  "Switches",
  "Shed",
  "Broken",
] as const;

type Shown = RegionalFigures & { readonly choice: string };

function section({ name, about }: RegionalScenario, rows: readonly Shown[]): string {
  const body = rows.map((row) => [
    row.choice,
    seconds(row.ttft_p50),
    seconds(row.ttft_p90),
    seconds(row.ttft_p99),
    Number.isFinite(row.tpot_p90) ? `${(1_000 * row.tpot_p90).toFixed(0)} ms` : "none",
    row.goodput.toFixed(2),
    percent(row.hit_rate),
    percent(row.cross),
    percent(row.moved),
    row.switches.toFixed(0),
    percent(row.shed),
    percent(row.broken),
  ]);
  const offered = rows[0]!.offered.toFixed(1);
  const goal = `SLO: ${SLO.ttftMs / 1_000} s to the first token, ${SLO.tpotMs} ms a token.`;
  return `**${name}**, ${offered} requests/s. ${about}. ${goal}\n\n${markdownTable(HEADS, body)}`;
}

function stuck(): string {
  const body = [OURS, marksWithoutEnd].map((choice) => {
    const { refused, refusedAfter, sentAfter, recoveredMs } = runStuckOverload(choice);
    const recovered = Number.isFinite(recoveredMs)
      ? `${(recoveredMs / 1_000).toFixed(2)} s`
      : "never";
    return [choice.name, String(refused), `${refusedAfter} of ${sentAfter}`, recovered];
  });
  const heads = ["Choice", "Refused in the burst", "Refused by idle pools", "Served again after"];
  const about = "A burst fills every pool until all refuse; then one request each 250 ms.";
  return `**stuck overload**. ${about}\n\n${markdownTable(heads, body)}`;
}

const percent = (share: number) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
const seconds = (value: number) => `${value >= 10 ? value.toFixed(0) : value.toFixed(2)} s`;
