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

const UNRECORDED = {
  attempt: 1,
  atMs: 5,
  model: "m",
  tenant: "t",
  priority: 0,
  promptTokens: 9,
  totalBlocks: 0,
  configVersion: 1,
  seed: 0,
  staleAfterMs: 0,
  scheduler: 0,
  filters: [],
  scorers: [],
  candidates: [],
  candidateCount: 0,
  chosen: ["10.0.0.1:80"],
  dropped: null,
  result: null,
  decided: {
    where: "local",
    reason: "nothing-to-gain",
    rttMs: 40,
    snapshotAgeMs: 10,
    credit: 1,
    saturation: 0,
    knownTokens: 0,
    possibleTokens: 0,
    gainMs: 0,
  },
};

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

  it("says of how many decisions at the edge it knows too little", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 1, config: { pools: [{ name: "eu-1" }] } }];
    const known = { oldestAtMs: null, oldestLocalAtMs: 0, next: null };
    const decisions = ["fl-1", "fl-2"].map((requestId) => ({ requestId, attempt: UNRECORDED }));
    admin.decisions = { objectEpoch: "a", ...known, schedulers: [{}], decisions };
    const run = await admin.run("what-if", "--config", FILE);
    expect(run.stdout).toContain("2 decisions at the edge cannot be compared");
    expect(run.stdout).toContain("what is known of the edge to 1970-01-01T00:00:00.000Z");
    expect(run.code).toBe(2);
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
