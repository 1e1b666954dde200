// `fairlead config apply` and `get` as a user runs them, against a deployment that a test plays.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { afterAll, describe, expect, it } from "vitest";
import { AdminServer } from "../support/admin-server.ts";

const dir = mkdtempSync(join(tmpdir(), "fairlead-apply-"));
afterAll(() => rmSync(dir, { recursive: true }));

function write(name: string, document: object): string {
  const file = join(dir, name);
  writeFileSync(file, stringify(document));
  return file;
}

function deployment(scheduler: object = {}) {
  const pool = (name: string) => ({
    name,
    region: "eu",
    models: ["m"],
    agentToken: `sha256:${"a".repeat(64)}`,
    relays: [{ url: "https://relay.example.com", keys: [{ id: "k1", secret: "<kept>" }] }],
    scheduler,
  });
  return { version: 1, pools: [pool("eu-1"), pool("eu-2")], tenants: [] };
}

const QUEUE_ONLY = { plugins: [{ type: "queue-scorer" }] };
const SCHEDULER = write("scheduler.yaml", { kind: "EndpointPickerConfig", ...QUEUE_ONLY });
const WHOLE = write("whole.yaml", deployment(QUEUE_ONLY));
const COMPARED = ["--require-what-if", "--allow-few-decisions"];

// Every test starts processes, on a machine that may be busy.
describe("fairlead config apply", { timeout: 30_000 }, () => {
  it("passes on what the deployment says of it", async () => {
    await using admin = await AdminServer.start();
    admin.putNotes = ["pool eu-1: it has moved."];
    expect(await admin.run("config", "apply", WHOLE)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("note: pool eu-1: it has moved.\n"),
    });
  });
});

describe("fairlead config apply --require-what-if", { timeout: 30_000 }, () => {
  it("replaces the version that it compared with, and no other", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 7, config: deployment() }];
    expect(await admin.run("config", "apply", WHOLE, ...COMPARED)).toMatchObject({ code: 0 });
    expect(admin.puts).toMatchObject([{ ifMatch: '"7"' }]);
  });

  it("takes the version that a pool's change is made from as the one in force", async () => {
    await using admin = await AdminServer.start();
    // Whoever reads again finds a version in which nothing would change, and would compare nothing.
    admin.configs = [
      { version: 7, config: deployment() },
      { version: 8, config: deployment(QUEUE_ONLY) },
    ];
    const run = await admin.run("config", "apply", SCHEDULER, "--pool", "eu-2", ...COMPARED);
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toMatch(/^Pool eu-2: cannot be told$/m);
    expect(admin.puts).toMatchObject([{ ifMatch: '"7"' }]);
  });

  it("refuses to compare with another version than the one to replace", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 7, config: deployment() }];
    const run = await admin.run("config", "apply", WHOLE, ...COMPARED, "--if-version", "8");
    expect(run.code).toBe(1);
    expect(run.stderr).toContain("the version in force is 7, not 8");
    expect(admin.puts).toEqual([]);
  });
});

it("says so where there is nothing to compare", { timeout: 30_000 }, async () => {
  await using admin = await AdminServer.start();
  admin.configs = [{ version: 7, config: deployment(QUEUE_ONLY) }];
  const run = await admin.run("config", "apply", WHOLE, "--require-what-if");
  expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining("nothing to compare") });
});

describe("a stored scheduling that cannot be read", { timeout: 30_000 }, () => {
  const args = ["config", "apply", SCHEDULER, "--pool"];

  it("is not overwritten by a change of another pool, unless that is wanted", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 7, config: deployment(), repaired: ["eu-1"] }];
    const refused = await admin.run(...args, "eu-2");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("the scheduling of eu-1 cannot be read");
    expect(admin.puts).toEqual([]);
    expect(await admin.run(...args, "eu-2", "--accept-defaults")).toMatchObject({ code: 0 });
    expect(admin.puts).toMatchObject([{ body: { pools: [{ scheduler: {} }, {}] } }]);
  });

  it("is replaced by a change of its own pool", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 7, config: deployment(), repaired: ["eu-1"] }];
    expect(await admin.run(...args, "eu-1")).toMatchObject({ code: 0 });
    expect(admin.puts).toHaveLength(1);
  });

  it("is told on stderr by config get", async () => {
    await using admin = await AdminServer.start();
    admin.configs = [{ version: 7, config: deployment(), repaired: ["eu-1"] }];
    const run = await admin.run("config", "get");
    expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/^# version 7\n/) });
    expect(run.stderr).toMatch(/^note: .*the scheduling of eu-1 cannot be read/);
    const json = await admin.run("config", "get", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ version: 7, repaired: ["eu-1"] });
  });
});

it("says so where something else than a Fairlead answers", { timeout: 30_000 }, async () => {
  await using admin = await AdminServer.start();
  admin.configs = [{ hello: "world" }];
  const run = await admin.run("config", "get");
  expect(run.code).toBe(1);
  expect(run.stderr).toContain("is no configuration");
  expect(run.stderr).not.toContain("failed unexpectedly");
});
