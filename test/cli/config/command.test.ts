// `fairlead config check` as a user runs it.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";

const run = promisify(execFile);
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fairlead-config-"));
});
afterAll(() => rm(dir, { recursive: true }));

const CONFIG = `
version: 1
pools:
  - name: eu-1
    region: eu
    models: [llama]
    agentToken: agent-token-0123456789
    relays: [{ url: "http://relay", keys: [{ id: k1, secret: a-secret-0123456789 }] }]
    modelRewrites:
      - name: canary
        creationTimestamp: 2026-01-31T12:00:00Z
        rules:
          - matches: [{ model: { value: chat } }]
            targets: [{ modelRewrite: llama }, { modelRewrite: llama-v2, weight: 1 }]
tenants:
  - { id: acme, keys: [sk-acme-0123456789], models: [chat] }
`;

it("says of a good configuration what its writer may not have meant", async () => {
  const file = join(dir, "fairlead.yaml");
  await writeFile(file, CONFIG);
  const { stdout, stderr } = await run("node", ["src/cli/fairlead.mjs", "config", "check", file]);
  expect(stdout).toContain("is good: 1 pool, 1 tenant.");
  expect(stderr).toMatch(
    /^note: pools\[0\]\.modelRewrites\[0\]\.rules\[0\]\.targets\[0\]: llama has no weight/,
  );
});
