// The Worker as one module, as wrangler would bundle it.

import { build, type BuildOptions } from "esbuild";
import { fileURLToPath } from "node:url";
import { CliError, describeError } from "../cli-error.ts";

const ENTRY = fileURLToPath(new URL("../../worker/index.ts", import.meta.url));

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

/** Writes the bundle to `outFile`. */
export async function bundleWorker(outFile: string): Promise<void> {
  try {
    await build({
      ...WORKER_MODULE,
      entryPoints: [ENTRY],
      outfile: outFile,
      sourcemap: "linked",
    });
  } catch (error) {
    throw new CliError(`The Worker could not be built: ${describeError(error)}`);
  }
}
