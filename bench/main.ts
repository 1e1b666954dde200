// Runs the benchmarks: `npm run bench -- [--json] [NAME ...]`. Without a name, all of them.

import { parseArgs } from "node:util";
import { measureDecision } from "./decision.ts";
import { type Measurement, print } from "./measure.ts";
import { measurePrefixTree } from "./prefix-tree.ts";

const BENCHES = new Map<string, () => Iterable<Measurement>>([
  ["prefix-tree", measurePrefixTree],
  ["decision", measureDecision],
]);

const { values, positionals } = parseArgs({
  options: { json: { type: "boolean", default: false } },
  allowPositionals: true,
});

const unknown = positionals.find((name) => !BENCHES.has(name));
if (unknown === undefined) {
  for (const [name, measure] of BENCHES) {
    if (positionals.length === 0 || positionals.includes(name)) print(measure(), values.json);
  }
} else {
  console.error(`no benchmark is named ${unknown}; there are ${[...BENCHES.keys()].join(", ")}`);
  process.exitCode = 2;
}
