// Runs the simulation: `npm run bench:simulation -- [flags]`.

import { runCommand } from "./command.ts";
import { runJobs } from "./threads.ts";

process.exitCode = await runCommand(process.argv.slice(2), {
  runJobs,
  print: console.log,
  complain: console.error,
});
