// The last bundle, with the sizes and times of all that it was made of. A start is a quarter cheaper where these are
// as they were.
//
//   <cacheDir>/inputs.json    of the bundle that is kept
//   <cacheDir>/<key>/         the bundle and its source map; the key is of the inputs
//
// Several runs may start at once: folders appear whole, by a rename, and whoever finds one gone builds anew. Whoever keeps
// one removes all others, also those that were never finished.

import { createHash, randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";

const INPUTS_FILE = "inputs.json";
const inputsSchema = z.array(z.string()).min(1);

export interface Built {
  /** Paths of all that decided about the bundle. */
  readonly inputs: readonly string[];
  /** When it was begun, as Date.now(): an input that has changed since may be in it or not. */
  readonly sinceMs: number;
}

/**
 * Copies the bundle that is kept to `outFile`; false where there is none of `entry`, a path, that is as new as its inputs:
 * checkouts may share a folder of modules, and what is kept may be another's.
 */
export async function takeBuilt(
  cacheDir: string,
  entry: string,
  outFile: string,
): Promise<boolean> {
  try {
    const text = await readFile(join(cacheDir, INPUTS_FILE), "utf8");
    const inputs = inputsSchema.parse(JSON.parse(text));
    const key = inputs.includes(entry) ? keyOf(inputs, Infinity) : undefined;
    if (key === undefined) return false;
    await copyBuilt(join(cacheDir, key, basename(outFile)), outFile);
    return true;
  } catch {
    // Nothing is kept, what is kept is of other inputs, or it was replaced this moment.
    return false;
  }
}

/** Keeps the bundle in `outFile` for the next time, in the place of what was kept. Never throws. */
export async function keepBuilt(cacheDir: string, outFile: string, built: Built): Promise<void> {
  const { inputs, sinceMs } = built;
  const key = keyOf(inputs, sinceMs);
  if (key === undefined) return;
  const name = `new-${randomUUID()}`;
  try {
    await mkdir(join(cacheDir, name), { recursive: true });
    await copyBuilt(outFile, join(cacheDir, name, basename(outFile)));
    await writeFile(join(cacheDir, `${name}.json`), JSON.stringify(inputs));
    for (const other of await readdir(cacheDir)) {
      if (other === INPUTS_FILE || other.startsWith(name)) continue;
      await rm(join(cacheDir, other), { recursive: true, force: true });
    }
    await rename(join(cacheDir, name), join(cacheDir, key));
    await rename(join(cacheDir, `${name}.json`), join(cacheDir, INPUTS_FILE));
  } catch {
    // Another run keeps the same, the disk is full, or the folder is not ours to write to.
    await rm(join(cacheDir, name), { recursive: true, force: true }).catch(() => {});
    await rm(join(cacheDir, `${name}.json`), { force: true }).catch(() => {});
  }
}

/** Of the inputs as they are now; undefined where one changed at `beforeMs` or later, or is gone. */
function keyOf(inputs: readonly string[], beforeMs: number): string | undefined {
  const hash = createHash("sha256");
  for (const path of inputs) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.mtimeMs >= beforeMs) return undefined;
    hash.update(`${path}\0${stats.size}\0${stats.mtimeMs}\n`);
  }
  return hash.digest("hex");
}

async function copyBuilt(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  await copyFile(`${from}.map`, `${to}.map`);
}
