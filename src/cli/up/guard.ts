// Runs a program that must not outlive its parent and cannot see to that itself (workerd):
//
//   node guard.ts PROGRAM [ARGUMENT...]
//
// stdin is a pipe from the parent, which never writes to it. When it closes the parent is gone, even
// if it was killed outright, and the program is killed too. Its output goes to stderr. stdout carries
// the ready line with the program's process id.

import { spawn } from "node:child_process";

/** How long its own signal may take to end it. */
const SIGNAL_MS_MAX = 1_000;

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  process.stderr.write("Usage: guard.ts PROGRAM [ARGUMENT...]\n");
  process.exit(2);
}

const child = spawn(program, args, { stdio: ["ignore", 2, 2] });
child.on("error", (error) => {
  process.stderr.write(`cannot start ${program}: ${error.message}\n`);
  process.exit(1);
});
child.on("spawn", () => {
  process.stdout.write(`${JSON.stringify({ ready: true, pid: child.pid })}\n`);
});
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.stderr.write(`${program} was ended by ${signal}\n`);
  // The guard ends as its program did, so that whoever waits for it sees why.
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Node itself ignores some.
  setTimeout(() => process.exit(1), SIGNAL_MS_MAX);
});
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.on(signal, () => child.kill("SIGTERM"));
}
process.stdin.on("close", () => child.kill("SIGKILL")).resume();
