// The command line of the benchmarks: which to run, and how their figures are written.

import { parseArgs } from "node:util";
import type { Measurement } from "./measure.ts";

export interface Bench {
  readonly name: string;
  /** It reads the figures of other processes from /proc. */
  readonly needsProc: boolean;
  measure(): AsyncIterable<Measurement>;
}

export interface CommandContext {
  readonly benches: readonly Bench[];
  /** Why nothing that needs /proc can run here; undefined if it can. */
  readonly missingProc: string | undefined;
  /** Writes a line of figures, each as soon as it is known. */
  readonly print: (line: string) => void;
  /** Writes what is wrong. */
  readonly complain: (text: string) => void;
}

interface Options {
  /** Empty: all. */
  readonly names: readonly string[];
  readonly isJson: boolean;
}

/** Runs what `args` ask for. Gives the exit status: 2 for a name that is unknown or cannot run here. */
export async function runCommand(args: string[], context: CommandContext): Promise<number> {
  const { benches, missingProc, print, complain } = context;
  const options = parseOptions(args, benches);
  if (typeof options === "string") {
    complain(`${options}\n\n${usage(benches)}`);
    return 2;
  }
  const { names, isJson } = options;
  for (const bench of benches) {
    if (names.length > 0 && !names.includes(bench.name)) continue;
    if (bench.needsProc && missingProc !== undefined) {
      complain(`${bench.name} ${missingProc}.`);
      if (names.length > 0) return 2;
      continue;
    }
    for await (const measurement of bench.measure()) {
      print(isJson ? jsonLine(measurement) : tableRow(measurement));
    }
  }
  return 0;
}

/** The options, or what is wrong with them. */
function parseOptions(args: string[], benches: readonly Bench[]): Options | string {
  const options = { json: { type: "boolean", default: false } } as const;
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    const unknown = positionals.find((name) => !benches.some((bench) => bench.name === name));
    if (unknown !== undefined) return `No benchmark is named ${unknown}.`;
    return { names: positionals, isJson: values.json };
  } catch (error) {
    // parseArgs throws a TypeError that names the flag.
    return (error as Error).message;
  }
}

function usage(benches: readonly Bench[]): string {
  return `Usage: npm run --silent bench -- [--json] [NAME ...]

  --json   one JSON object a line: bench, metric, value, unit, ratio, against
  NAME     ${benches.map(({ name }) => name).join(", ")} (default: all)`;
}

/** Its members in one order, whatever the order they were made in. */
function jsonLine({ bench, metric, value, unit, ratio, against }: Measurement): string {
  return JSON.stringify({ bench, metric, value, unit, ratio, against });
}

function tableRow({ bench, metric, value, unit, ratio, against }: Measurement): string {
  const figure = `${value.toPrecision(4)} ${unit}`;
  const compared = ratio === null ? "" : `${ratio.toPrecision(3)} × ${against}`;
  return `${bench.padEnd(20)} ${metric.padEnd(24)} ${figure.padStart(16)}   ${compared}`.trimEnd();
}
