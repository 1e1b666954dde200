// `fairlead config check` as a user runs it.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";

const dir = mkdtempSync(join(tmpdir(), "fairlead-check-"));
afterAll(() => rmSync(dir, { recursive: true }));

function check(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      "node",
      ["src/cli/fairlead.mjs", "config", "check", ...args],
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const SCHEDULER = `
kind: EndpointPickerConfig
plugins: [{ type: queue-scorer }, { type: tokenizer }]
`;
const SECRET = "relay-secret-0123456789";
const DEPLOYMENT = (pool: string) => `
version: 1
pools:
  - name: eu-1
    region: eu
    models: [m]
    agentToken: agent-token-0123456789
    relays: [{ url: "http://r", keys: [{ id: k1, secret: ${SECRET} }] }]
${pool}
tenants: []
`;

// Every test starts processes, on a machine that may be busy.
describe("fairlead config check", { timeout: 30_000 }, () => {
  it("prints what an EndpointPickerConfig comes to, as YAML or JSON, and notes aside", async () => {
    const path = file("epp.yaml", SCHEDULER);
    const [yaml, json] = await Promise.all([check(path), check(path, "--json")]);
    const effective = schedulerConfigSchema.parse(parse(SCHEDULER));
    expect(parse(yaml.stdout)).toEqual(effective);
    expect(JSON.parse(json.stdout)).toEqual(effective);
    expect(yaml.stdout).toMatch(/^# .*epp\.yaml is good/);
    expect(yaml.stderr).toBe(
      "note: plugins[1].type: tokenizer is deprecated: use token-producer.\n",
    );
    // What it prints is itself a configuration, of which there is nothing more to say.
    const again = await check(file("again.yaml", yaml.stdout));
    expect(parse(again.stdout)).toEqual(effective);
  });

  it("lists every mistake of an EndpointPickerConfig, as JSON too", async () => {
    const document = {
      kind: "EndpointPickerConfig",
      plugins: [{ type: "nope" }],
      featureGates: ["x"],
    };
    const { code, stdout, stderr } = await check(file("bad.json", JSON.stringify(document)));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("  featureGates[0]: feature gate 'x' is unknown");
    expect(stderr).toContain("  plugins[0].type: plugin type 'nope' is not registered");
  });

  it("takes alpha plugins where it is told to, or the pool says so", async () => {
    const plugins = "[{ type: session-affinity-scorer }]";
    const alone = file("alpha.yaml", `kind: EndpointPickerConfig\nplugins: ${plugins}`);
    const refused = await check(alone);
    expect(refused.stderr).toContain("plugins[0].type: plugin 'session-affinity-scorer'");
    expect(await check(alone, "--allow-experimental-plugins")).toMatchObject({ code: 0 });
    const pool = `    scheduler: { plugins: ${plugins} }`;
    const within = await check(file("pool.yaml", DEPLOYMENT(pool)));
    expect(within.stderr).toContain("pools[0].scheduler.plugins[0].type: plugin 'session-affinity");
    const allowed = file("allowed.yaml", DEPLOYMENT(`${pool}\n    allowExperimentalPlugins: true`));
    expect(await check(allowed)).toMatchObject({ code: 0 });
  });

  it("prints what each pool of a deployment comes to, and no secret", async () => {
    const { code, stdout, stderr } = await check(file("fairlead.yaml", DEPLOYMENT("")));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^# .*fairlead\.yaml is good: 1 pool, 0 tenants\.\n/);
    expect(parse(stdout)).toEqual({
      pools: [{ name: "eu-1", scheduler: schedulerConfigSchema.parse({}) }],
    });
    expect(stdout).not.toContain(SECRET);
  });

  it("says of the form before what the new one looks like", async () => {
    const former = "    scheduler: { schedulingProfiles: [{ name: default, scorers: [] }] }";
    const { code, stderr } = await check(file("former.yaml", DEPLOYMENT(former)));
    expect(code).toBe(1);
    expect(stderr).toContain(
      "pools[0].scheduler.schedulingProfiles[0]: filters, scorers and picker of a profile are written",
    );
    expect(stderr).toContain("plugins: [{pluginRef: queue-scorer, weight: 2}]");
  });
});
