// Runs the benchmarks: `npm run bench -- [--json] [NAME ...]`. Without a name, all of them.

import { BENCHES } from "./benches.ts";
import { runCommand } from "./command.ts";
import { missingProc } from "./proc.ts";

process.exitCode = await runCommand(process.argv.slice(2), {
  benches: BENCHES,
  missingProc: missingProc(),
  print: console.log,
  complain: console.error,
});
