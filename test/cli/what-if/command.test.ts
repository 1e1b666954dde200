// What `fairlead what-if` says where it cannot compare.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { AdminServer } from "../support/admin-server.ts";

const dir = mkdtempSync(join(tmpdir(), "fairlead-what-if-"));
afterAll(() => rmSync(dir, { recursive: true }));
const FILE = join(dir, "scheduler.yaml");
writeFileSync(FILE, "kind: EndpointPickerConfig\nplugins: [{ type: queue-scorer }]\n");

describe("fairlead what-if", { timeout: 30_000 }, () => {
  it.for([
    { name: "no configuration", config: { hello: "world" }, says: "is no configuration" },
    { name: "no pools", config: { version: 1, config: {} }, says: "is no configuration" },
  ])("ends with 2, not with worse, where the answer has $name", async ({ config, says }) => {
    await using admin = await AdminServer.start();
    admin.configs = [config];
    const run = await admin.run("what-if", "--config", FILE);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toContain(says);
  });

  it("reads the pages of a pool of several objects to their end", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 1, config: { pools: [{ name: "eu-1" }] } }];
    const shards = { count: 2, missing: [1] };
    const page = { objectEpoch: "a,", oldestAtMs: 5, schedulers: [], decisions: [], shards };
    admin.decisions = (path: string) => ({
      ...page,
      next: path.includes("before=") ? null : "7.-",
    });
    const run = await admin.run("what-if", "--config", FILE);
    expect(admin.asked.at(-1)).toContain("&before=7.-");
    expect(run.stdout).toContain("of 1 of 2 objects: 1 did not answer");
  });

  it("ends with 2 where the decisions cannot be read", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 1, config: { pools: [{ name: "eu-1" }] } }];
    admin.decisions = { decisions: "many" };
    const run = await admin.run("what-if", "--config", FILE);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toContain("The answer could not be read");
  });
});
