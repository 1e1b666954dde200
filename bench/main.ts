// Runs the benchmarks: `npm run bench -- [--json] [NAME ...]`. Without a name, all of them.

import { parseArgs } from "node:util";
import { measureDecision } from "./decision.ts";
import { type Measurement, print } from "./measure.ts";
import { measurePrefixTree } from "./prefix-tree.ts";
import { proxyBenches } from "./proxy.ts";

type Bench = () => Iterable<Measurement> | AsyncIterable<Measurement>;

const BENCHES = new Map<string, Bench>([
  ["prefix-tree", measurePrefixTree],
  ["decision", measureDecision],
  ...proxyBenches,
]);

const { values, positionals } = parseArgs({
  options: { json: { type: "boolean", default: false } },
  allowPositionals: true,
});

const unknown = positionals.find((name) => !BENCHES.has(name));
if (unknown === undefined) {
  for (const [name, measure] of BENCHES) {
    if (positionals.length === 0 || positionals.includes(name)) await print(measure(), values.json);
  }
} else {
  console.error(`no benchmark is named ${unknown}; there are ${[...BENCHES.keys()].join(", ")}`);
  process.exitCode = 2;
}
