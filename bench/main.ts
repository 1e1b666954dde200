// Runs the benchmarks: `npm run bench -- [--json] [NAME ...]`. Without a name, all of them.
//
// Figures go to stdout, each as soon as it is known, and nothing else does. Exits with 2 for a name
// that is not there or that cannot run on this system.

import { parseArgs } from "node:util";
import { type Bench, BENCHES } from "./benches.ts";
import type { Measurement } from "./measure.ts";
import { missingProc } from "./proc.ts";

const USAGE = `Usage: npm run --silent bench -- [--json] [NAME ...]

  --json   one JSON object a line: bench, metric, value, unit, ratio, against
  NAME     ${BENCHES.map(({ name }) => name).join(", ")} (default: all)`;

process.exitCode = await run(process.argv.slice(2));

async function run(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) return 2;
  const { names, isJson } = options;
  const missing = missingProc();
  const isAsked = ({ name }: Bench) => names.length === 0 || names.includes(name);
  for (const bench of BENCHES.filter(isAsked)) {
    if (bench.needsProc && missing !== undefined) {
      console.error(`${bench.name} ${missing}.`);
      if (names.length > 0) return 2;
      continue;
    }
    for await (const measurement of bench.measure()) {
      console.log(isJson ? JSON.stringify(measurement) : tableRow(measurement));
    }
  }
  return 0;
}

/** Undefined after it has said what is wrong. */
function readOptions(args: string[]): { names: string[]; isJson: boolean } | undefined {
  const options = { json: { type: "boolean", default: false } } as const;
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    const unknown = positionals.find((name) => !BENCHES.some((bench) => bench.name === name));
    if (unknown === undefined) return { names: positionals, isJson: values.json };
    console.error(`No benchmark is named ${unknown}.\n\n${USAGE}`);
  } catch (error) {
    // parseArgs throws a TypeError that names the flag.
    console.error(`${(error as Error).message}\n\n${USAGE}`);
  }
  return undefined;
}

function tableRow({ bench, metric, value, unit, ratio, against }: Measurement): string {
  const figure = `${value.toPrecision(4)} ${unit}`;
  const compared = ratio === null ? "" : `${ratio.toPrecision(3)} × ${against}`;
  return `${bench.padEnd(20)} ${metric.padEnd(28)} ${figure.padStart(16)}   ${compared}`.trimEnd();
}
