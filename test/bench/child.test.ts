// How scripts beside a benchmark are ended.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, vi } from "vitest";
import { start } from "../../bench/child.ts";

const GUARD = fileURLToPath(new URL("../../src/cli/up/guard.ts", import.meta.url));
const DRAIN_MS_MAX = 20;

async function started(script: string, ...before: readonly string[]) {
  const dir = mkdtempSync(join(tmpdir(), "child-test-"));
  const file = join(dir, "script.mjs");
  writeFileSync(file, script);
  const child = start(dir, [...before, file]);
  const { pid } = (await child.ready) as { pid: number };
  return { dir, child, pid };
}

const READY = "console.log(JSON.stringify({ pid: process.pid })); setInterval(() => {}, 1_000);";
const DEAF = `process.on("SIGTERM", () => {}); ${READY}`;

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it("ends a script that drains", async () => {
  const { child, dir, pid } = await started(READY);
  await child.stop();
  expect([isThere(pid), existsSync(dir)]).toEqual([false, false]);
});

it("ends one that does not hear", async () => {
  const { child, dir, pid } = await started(DEAF);
  await child.stop(DRAIN_MS_MAX);
  expect([isThere(pid), existsSync(dir)]).toEqual([false, false]);
});

it("ends what a guard runs, where that does not hear", async () => {
  // A guard's program has no stdout to say so by.
  const mark = join(mkdtempSync(join(tmpdir(), "child-test-")), "deaf");
  const script = `import { writeFileSync } from "node:fs"; ${DEAF} writeFileSync("${mark}", "");`;
  const { child, pid } = await started(script, GUARD, process.execPath);
  await vi.waitFor(() => expect(existsSync(mark)).toBe(true), { timeout: 5_000 });
  await child.stop(DRAIN_MS_MAX);
  expect(isThere(pid)).toBe(false);
  rmSync(dirname(mark), { recursive: true });
});
