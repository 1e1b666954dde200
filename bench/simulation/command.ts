// The command line of the simulation.

import { parseArgs } from "node:util";
import { runDisaggregation } from "./disaggregation/report.ts";
import { runEdge } from "./edge/report.ts";
import { runFlowControl } from "./flow-control/report.ts";
import type { Job, JobResult } from "./job.ts";
import { meanFigures } from "./outcome.ts";
import { POLICIES } from "./policies.ts";
import { DEFAULT_SHAPE } from "./pool-shape.ts";
import { runRegions } from "./regions/report.ts";
import { findSaturationRate } from "./saturation.ts";
import { writeDocumentation } from "./documentation.ts";
import type { PolicyDefinition } from "./policy.ts";
import { jsonRow, type Row, table } from "./report.ts";
import type { Workload } from "./workload.ts";
import { findWorkloads, WORKLOADS } from "./workloads.ts";

export interface SimulationContext {
  readonly runJobs: (
    jobs: readonly Job[],
    traceFile: string | undefined,
    onResult: (result: JobResult) => void,
  ) => Promise<JobResult[]>;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** Shares of the saturation rate, from nearly idle to well past it. */
const LOADS = [0.3, 0.8, 1, 1.2] as const;
const SEEDS = [1] as const;

type Extent = "no" | "quick" | "all";

interface Plan {
  readonly jobs: readonly Job[];
  readonly traceFile: string | undefined;
  readonly isJson: boolean;
  /** Whether docs/performance.md is to be written. */
  readonly isDocumented: boolean;
  readonly workloads: readonly Workload[];
  /** Instead of all else: the scenarios of flow control. */
  readonly isFlowControl: boolean;
  /** Instead of all else: the same engines together and apart. */
  readonly isDisaggregation: boolean;
  /** Instead of all else: pools of three regions; quickly, or all of it. */
  readonly regions: Extent;
  /** Instead of all else: one pool seen from many isolates; quickly, or all of it. */
  readonly edge: Extent;
  /** Instead of all else: find the saturation rates, by this policy. */
  readonly saturation: PolicyDefinition | undefined;
}

/** Runs what `args` ask for. Gives the exit status: 2 for arguments that make no sense. */
export async function runCommand(args: string[], context: SimulationContext): Promise<number> {
  const plan = parsePlan(args);
  if (typeof plan === "string") {
    context.complain(`${plan}\n\n${USAGE}`);
    return 2;
  }
  if (plan.isFlowControl) {
    runFlowControl(plan.isDocumented, context);
    return 0;
  }
  if (plan.isDisaggregation) {
    runDisaggregation(plan.isDocumented, context);
    return 0;
  }
  if (plan.regions !== "no") {
    const { isDocumented } = plan;
    await runRegions({ isDocumented, isQuick: plan.regions === "quick" }, context);
    return 0;
  }
  if (plan.edge !== "no") {
    const { isDocumented } = plan;
    await runEdge({ isDocumented, isQuick: plan.edge === "quick" }, context);
    return 0;
  }
  if (plan.saturation !== undefined) {
    for (const workload of plan.workloads) {
      const rate = findSaturationRate(workload, plan.saturation);
      context.print(
        `${workload.name} ${rate.toPrecision(3)} requests/s by ${plan.saturation.name}`,
      );
    }
    return 0;
  }
  let done = 0;
  const results = await context.runJobs(plan.jobs, plan.traceFile, ({ job, wallMs }) => {
    const { workload, policy, rate, seed } = job;
    const count = `${++done}/${plan.jobs.length}`;
    const what = `${workload} ${rate.toFixed(2)}/s ${policy} seed ${seed}`;
    context.complain(`${count} ${what} ${(wallMs / 1_000).toFixed(1)} s`);
  });
  const rows = toRows(results);
  if (plan.isJson) for (const row of rows) context.print(jsonRow(row));
  else context.print(table(rows));
  if (plan.isDocumented) writeDocumentation(rows, plan.workloads);
  return 0;
}

/** One row for each workload, rate and policy: the mean over seeds. */
function toRows(results: readonly JobResult[]): Row[] {
  const groups = new Map<string, JobResult[]>();
  for (const result of results) {
    const { workload, rate, policy } = result.job;
    const key = `${workload} ${rate} ${policy}`;
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return Array.from(groups.values(), (group) => {
    const { workload, rate, load, policy } = group[0]!.job;
    return { workload, rate, load, policy, ...meanFigures(group.map(({ figures }) => figures)) };
  });
}

/** What is to be run, or what is wrong with the arguments. */
function parsePlan(args: string[]): Plan | string {
  const text = { type: "string" } as const;
  const options = {
    json: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
    "find-saturation": { type: "boolean", default: false },
    "flow-control": { type: "boolean", default: false },
    disaggregation: { type: "boolean", default: false },
    regions: { type: "boolean", default: false },
    edge: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    workload: text,
    workloads: text,
    policies: text,
    rates: text,
    loads: text,
    seeds: text,
    endpoints: text,
  } as const;
  try {
    const { values } = parseArgs({ args, options });
    const all = findWorkloads(values.workload);
    const common = values.workload === undefined ? WORKLOADS : all;
    const workloads =
      values.workloads === undefined ? common : chosen("workload", values.workloads, all);
    const policies = chosen("policy", values.policies, POLICIES);
    const seeds = numbers("--seeds", values.seeds) ?? SEEDS;
    const endpointCount = numbers("--endpoints", values.endpoints)?.[0];
    const count = endpointCount ?? DEFAULT_SHAPE.endpointCount;
    const rates = numbers("--rates", values.rates);
    const loads = numbers("--loads", values.loads) ?? LOADS;
    const jobs = workloads.flatMap((workload) =>
      ratesOf(workload, rates, loads, count).flatMap((at) =>
        seeds.flatMap((seed) =>
          policies.map(({ name: policy }) => {
            return { workload: workload.name, policy, seed, endpointCount: count, ...at };
          }),
        ),
      ),
    );
    return {
      jobs,
      traceFile: values.workload,
      isJson: values.json,
      isDocumented: values["write-docs"],
      workloads,
      isFlowControl: values["flow-control"],
      isDisaggregation: values.disaggregation,
      ...extentsOf(values),
      saturation: values["find-saturation"]
        ? (policies.find(({ name }) => name === "ours") ?? policies.at(-1))
        : undefined,
    };
  } catch (error) {
    return (error as Error).message;
  }
}

function extentsOf(asked: {
  readonly regions: boolean;
  readonly edge: boolean;
  readonly quick: boolean;
}): Pick<Plan, "regions" | "edge"> {
  const { regions, edge, quick } = asked;
  if (!regions && !edge && quick) throw new Error("--quick goes with --regions or --edge.");
  const extent = (isAsked: boolean): Extent => (isAsked ? (quick ? "quick" : "all") : "no");
  return { regions: extent(regions), edge: extent(edge) };
}

function ratesOf(
  { saturationRate }: Workload,
  rates: readonly number[] | undefined,
  loads: readonly number[],
  endpointCount: number,
): { readonly rate: number; readonly load: number }[] {
  const full = (saturationRate * endpointCount) / DEFAULT_SHAPE.endpointCount;
  if (rates !== undefined) return rates.map((rate) => ({ rate, load: rate / full }));
  return loads.map((load) => ({ rate: load * full, load }));
}

function chosen<T extends { readonly name: string }>(
  what: string,
  list: string | undefined,
  all: readonly T[],
): readonly T[] {
  if (list === undefined) return all;
  return list.split(",").map((name) => {
    const found = all.find((item) => item.name === name);
    if (found !== undefined) return found;
    const names = all.map((item) => item.name).join(", ");
    throw new Error(`No ${what} is named ${name}: there are ${names}.`);
  });
}

function numbers(flag: string, list: string | undefined): readonly number[] | undefined {
  return list?.split(",").map((text) => {
    const value = Number(text);
    if (text.trim() !== "" && value > 0 && Number.isFinite(value)) return value;
    throw new Error(`${flag} takes positive numbers with commas between them, and got ${text}.`);
  });
}

const USAGE = `Usage: npm run --silent bench:simulation -- [flags]

  --json              one JSON object a line, instead of a table
  --workload FILE     a trace in the Mooncake format, instead of the workloads below
  --workloads NAMES   (default: all but wide, which is for --endpoints 1000)
  --policies NAMES    (default: all)
  --loads NUMBERS     shares of each workload's saturation rate (default: ${LOADS.join(",")})
  --rates NUMBERS     requests a second, instead of --loads
  --seeds NUMBERS     (default: ${SEEDS.join(",")}); figures are means over seeds
  --endpoints NUMBER  (default: ${DEFAULT_SHAPE.endpointCount})
  --write-docs        also write tables and plots into docs/performance.md
  --flow-control      instead, the scenarios of flow control; with --write-docs into the document
  --disaggregation    instead, prefill and decode together and apart; with --write-docs likewise
  --regions           instead, pools of three regions; with --write-docs likewise, with more loads
  --edge              instead, one pool seen from many isolates; with --write-docs likewise
  --quick             of --regions or --edge, one scenario in a few seconds
  --find-saturation   instead, find each workload's saturation rate, by ours or the last of --policies`;
