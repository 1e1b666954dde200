#!/usr/bin/env node
// The bin. Plain JavaScript, so that a Node too old to run TypeScript can still read it: such a Node
// starts the one that `npm ci` installed, or says what is missing. Only dispatch; see main.ts.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";

/** The first Node that runs TypeScript without a flag. */
const NODE_MIN = [22, 18];

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const isNew = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
const main = fileURLToPath(new URL("main.ts", import.meta.url));
const installedNode = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
/** With what V8 made of the modules the last time, it starts in half the time. NODE_COMPILE_CACHE goes before. */
const compileCacheDir = fileURLToPath(
  new URL("../../node_modules/.cache/node-compile", import.meta.url),
);

if (isNew) {
  module.enableCompileCache(compileCacheDir);
  await import("./main.ts");
} else if (existsSync(installedNode)) {
  const env = { NODE_COMPILE_CACHE: compileCacheDir, ...process.env };
  const child = spawn(installedNode, [main, ...process.argv.slice(2)], { stdio: "inherit", env });
  // A terminal's Ctrl-C reaches both; the child decides when to end.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal === null ? 1 : 130);
  });
} else {
  process.stderr.write(
    `fairlead needs Node ${NODE_MIN.join(".")} or newer, and this is ${process.versions.node}. ` +
      "Run `npm ci` in the repository: it installs Node 24, and `npm start` uses it.\n",
  );
  process.exitCode = 1;
}
