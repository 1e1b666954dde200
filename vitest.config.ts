import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

// The tests start hundreds of Node processes that all read the same modules: the CLI, the agents,
// whole runs of them. With what V8 made of a module kept on disk, each costs half as much.
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(
  new URL("node_modules/.cache/node-compile", import.meta.url),
);

// Vitest leaves one processor idle, which of two is half of them. The number must be the same for
// all projects: so their files share one queue, and the last of one run beside the first of the next.
const maxWorkers = availableParallelism();

/** What is behind a binding, as a private network is: it tells what it was asked. */
async function answerPrivately(request: { url: string; headers: Iterable<[string, string]> }) {
  const { url, headers } = request;
  return Response.json({ url, headers: Object.fromEntries(headers) }) as never;
}

// node:    pure code, agents and the CLI, in Node.
// workerd: the Worker and its Durable Objects, inside workerd.
// e2e:     `fairlead up` as a user runs it: real processes, real sockets, the real openai client.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          include: [
            "test/{scheduler,telemetry,config,agents,cli,conformance,bench,docs}/**/*.test.ts",
            "test/tidy.test.ts",
          ],
          maxWorkers,
          // Modules of the tree keep no state of their own, and what a test opens it closes: files
          // can share a process, and what they import is read once.
          isolate: false,
          // Property tests take seconds where two cores are shared; a hang is still noticed.
          testTimeout: 20_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: { FAIRLEAD_ADMIN_KEY: "admin-key-of-the-tests" },
              r2Buckets: ["MODEL_FILES"],
              serviceBindings: { PRIVATE_GATEWAY: (request) => answerPrivately(request) },
            },
          }),
        ],
        test: {
          name: "workerd",
          globalSetup: [
            "test/worker/support/relay-server.ts",
            "test/durable/upstreams/upstream-server.ts",
          ],
          include: ["test/{worker,durable}/**/*.test.ts"],
          maxWorkers,
          // Starting workerd costs more than most files do. They share one, emptied between them.
          isolate: false,
          setupFiles: ["test/worker/support/new-world.ts"],
          testTimeout: 20_000,
          hookTimeout: 20_000,
          // itty-durable ships ES modules in a CommonJS package; bundling it first settles which.
          // zod is bundled because each file reads it anew: one module in place of eighty.
          deps: { optimizer: { ssr: { enabled: true, include: ["itty-durable", "zod"] } } },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          maxWorkers,
          // Each file starts whole processes, and waits for them where others use the processors.
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
