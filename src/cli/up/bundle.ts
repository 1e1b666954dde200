// The Worker as one module, as wrangler would bundle it.

import type { BuildOptions } from "esbuild";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CliError, describeError } from "../cli-error.ts";
import { keepBuilt, takeBuilt } from "./bundle-cache.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const ENTRY = fileURLToPath(new URL("../../worker/index.ts", import.meta.url));
const CACHE_DIR = join(ROOT, "node_modules", ".cache", "fairlead-worker");

/** What makes a module that workerd can run. */
export const WORKER_MODULE: BuildOptions = {
  bundle: true,
  format: "esm",
  target: "es2024",
  platform: "neutral",
  conditions: ["workerd", "worker", "browser", "import"],
  mainFields: ["browser", "module", "main"],
  external: ["cloudflare:*", "node:*"],
  logLevel: "silent",
};

/** What is built of, and where it is kept for the next time. */
export interface BundleOptions {
  readonly entry: string;
  readonly cacheDir: string;
  /** What decides about the bundle and is not in it. */
  readonly besides: readonly string[];
}

const WORKER: BundleOptions = {
  entry: ENTRY,
  cacheDir: CACHE_DIR,
  // How it is built, and by what.
  besides: [
    fileURLToPath(import.meta.url),
    join(ROOT, "tsconfig.json"),
    join(ROOT, "package-lock.json"),
  ],
};

/** Writes the bundle to `outFile`: the one of the last time, where nothing that it was made of has changed. */
export async function bundleWorker(outFile: string, options = WORKER): Promise<void> {
  const { entry, cacheDir, besides } = options;
  if (await takeBuilt(cacheDir, entry, outFile)) return;
  const sinceMs = Date.now();
  try {
    // Most starts need no builder, and it takes a while to load.
    const { build } = await import("esbuild");
    const { metafile } = await build({
      ...WORKER_MODULE,
      absWorkingDir: ROOT,
      entryPoints: [entry],
      outfile: outFile,
      sourcemap: "linked",
      metafile: true,
    });
    const inputs = Object.keys(metafile.inputs).map((path) => join(ROOT, path));
    await keepBuilt(cacheDir, outFile, { inputs: [...inputs, ...besides], sinceMs });
  } catch (error) {
    throw new CliError(`The Worker could not be built: ${describeError(error)}`);
  }
}
