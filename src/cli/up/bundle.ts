// The Worker as one module, as wrangler would bundle it.

import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { CliError, describeError } from "../cli-error.ts";

const ENTRY = fileURLToPath(new URL("../../worker/index.ts", import.meta.url));

/** Writes the bundle to `outFile`. */
export async function bundleWorker(outFile: string): Promise<void> {
  try {
    await build({
      entryPoints: [ENTRY],
      outfile: outFile,
      bundle: true,
      format: "esm",
      target: "es2024",
      platform: "neutral",
      conditions: ["workerd", "worker", "browser", "import"],
      mainFields: ["browser", "module", "main"],
      external: ["cloudflare:*", "node:*"],
      sourcemap: "linked",
      logLevel: "silent",
    });
  } catch (error) {
    throw new CliError(`The Worker could not be built: ${describeError(error)}`);
  }
}
