import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

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
          // Property tests take seconds where two cores are shared; a hang is still noticed.
          testTimeout: 20_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: { FAIRLEAD_ADMIN_KEY: "admin-key-of-the-tests" } },
          }),
        ],
        test: {
          name: "workerd",
          globalSetup: ["test/worker/support/relay-server.ts"],
          include: ["test/{worker,durable}/**/*.test.ts"],
          // itty-durable ships ES modules in a CommonJS package; bundling it first settles which.
          deps: { optimizer: { ssr: { enabled: true, include: ["itty-durable"] } } },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          // Each file starts whole processes; one at a time keeps two cores honest.
          fileParallelism: false,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
