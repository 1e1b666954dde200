// Runs each workload on each configuration, and prints or documents what comes of it.

import { markdownTable, writePlot, writeSection } from "../documentation.ts";
import { figuresOf, quantile } from "../outcome.ts";
import { plot } from "../plot.ts";
import type { PolicyDefinition } from "../policy.ts";
import type { Row } from "../report.ts";
import { simulate } from "../simulation.ts";
import { type Configuration, CONFIGURATIONS } from "./configurations.ts";
import { splitPhase, type SplitWorkload, SPLIT_WORKLOADS } from "./workloads.ts";

/** Of each workload's rate: the table's, and what the plot has besides. */
const TABLE_LOAD = 1;
const LOADS = [0.5, 0.75, TABLE_LOAD, 1.25] as const;
const SEED = 1;
const PLOT = "disaggregation-ttft-p90.svg";
const TITLE = "Time to first token, p90 in seconds (logarithmic), by share of each workload's rate";

interface Output {
  readonly print: (text: string) => void;
  /** For progress. */
  readonly complain: (text: string) => void;
}

/** What a run gives besides the usual figures. Times in seconds. */
export interface SplitRow extends Row {
  /** Between two tokens of one answer, over all of them. */
  readonly gap_p50: number;
  readonly gap_p99: number;
  readonly gap_max: number;
  /** Requests whose prompt was computed apart, of all. */
  readonly split: number;
}

export function runSplit(
  workload: SplitWorkload,
  { name, shape, policy }: Configuration,
  load: number,
): SplitRow {
  const rate = workload.rate * load;
  const gapsMs: number[] = [];
  const count = { split: 0, chosen: 0 };
  const phases = [splitPhase(workload, rate, SEED)];
  const counted = counting(policy, count);
  const onGap = (gapMs: number) => void gapsMs.push(gapMs);
  const result = simulate({ shape, policy: counted, phases, seed: SEED, onGap });
  const gaps = Float64Array.from(gapsMs, (gapMs) => gapMs / 1_000).sort();
  return {
    workload: workload.name,
    policy: name,
    rate,
    load,
    ...figuresOf(result, workload.slo),
    gap_p50: quantile(gaps, 0.5),
    gap_p99: quantile(gaps, 0.99),
    gap_max: gaps.at(-1) ?? 0,
    split: count.split / Math.max(1, count.chosen),
  };
}

/** The same policy; `count` says how many of its requests were split. */
function counting(
  policy: PolicyDefinition,
  count: { split: number; chosen: number },
): PolicyDefinition {
  return {
    ...policy,
    create(context) {
      const made = policy.create(context);
      return {
        ...made,
        prefillSlot(request) {
          const slot = made.prefillSlot?.(request);
          count.chosen++;
          if (slot !== undefined) count.split++;
          return slot;
        },
      };
    },
  };
}

export function runDisaggregation(
  isDocumented: boolean,
  { print, complain }: Output,
  workloads = SPLIT_WORKLOADS,
): void {
  const rows: SplitRow[] = [];
  for (const workload of workloads) {
    for (const load of isDocumented ? LOADS : [TABLE_LOAD]) {
      for (const configuration of CONFIGURATIONS) {
        complain(`${workload.name} ${load} ${configuration.name}`);
        rows.push(runSplit(workload, configuration, load));
      }
    }
  }
  const text = workloads.map((workload) => section(workload, rows)).join("\n\n");
  print(text);
  if (!isDocumented) return;
  const svg = plot(rows, { title: TITLE, figure: "ttft_p90", isLogarithmic: true, format: digits });
  writePlot(PLOT, svg);
  const image = `![${TITLE}](plots/${PLOT})`;
  writeSection("disaggregation", "--disaggregation --write-docs", `${text}\n\n${image}`);
}

const HEADS = [
  "Engines",
  "TTFT p50",
  "p90",
  "p99",
  "Token gap p50",
  "p99",
  "longest",
  "Goodput/s",
  "Split",
] as const;

function section({ name, about, rate, slo }: SplitWorkload, rows: readonly SplitRow[]): string {
  const shown = rows.filter(({ workload, load }) => workload === name && load === TABLE_LOAD);
  const body = shown.map((row) => [
    row.policy,
    seconds(row.ttft_p50),
    seconds(row.ttft_p90),
    seconds(row.ttft_p99),
    milliseconds(row.gap_p50),
    milliseconds(row.gap_p99),
    milliseconds(row.gap_max),
    row.goodput.toFixed(1),
    `${(100 * row.split).toFixed(0)}%`,
  ]);
  const goal = `SLO: ${slo.ttftMs / 1_000} s to the first token, ${slo.tpotMs} ms a token.`;
  return `**${name}**, ${rate} requests/s: ${about}. ${goal}\n\n${markdownTable(HEADS, body)}`;
}

function digits(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

const seconds = (value: number) => `${digits(value)} s`;
const milliseconds = (value: number) => `${(1_000 * value).toFixed(0)} ms`;
