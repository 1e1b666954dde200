// docs/plugins.md, followed to the letter in a copy of the scheduler.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const PLUGIN = "src/scheduler/plugins/filter/spot-instance-filter.ts";
const text = readFileSync("docs/plugins.md", "utf8");

function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(text)![1]!;
}

/** Adds each `+` line of the diff behind the unchanged line before it, or at the imports' end. */
function applyDiff(source: string, diff: string): string {
  const added = [...diff.matchAll(/^\+(.*)$/gm)].map(([, line]) => line!);
  const [imported, listed] = added;
  return source
    .replace(/^import /m, `${imported}\nimport `)
    .replace("export const PLUGINS = [", (line) => `${line}\n${listed}`);
}

const PROGRAM = `
import { schedulerConfigSchema } from "./src/scheduler/config/schema.ts";
import { EndpointPicker } from "./src/scheduler/endpoint-picker.ts";
import { EndpointTable } from "./src/scheduler/model/endpoint-table.ts";
import { readFileSync } from "node:fs";
import { parse } from "yaml";

const config = schedulerConfigSchema.parse(parse(readFileSync("pool.yaml", "utf8")));
const table = new EndpointTable();
const spot = { "cloud.google.com/gke-spot": "true" };
table.add({ id: "default/spot", address: "10.0.0.1:8000", engine: "vllm", labels: spot });
table.add({ id: "default/kept", address: "10.0.0.2:8000", engine: "vllm", labels: {} });
table.applySample(0, { waiting: 0, running: 0, kvUsage: 0 }, 1_000);
table.applySample(1, { waiting: 9, running: 0, kvUsage: 0 }, 1_000);
const picker = new EndpointPicker(config);
const pickFor = (priority) => {
  const request = {
    requestId: "r", model: "m", tenant: "t", priority, keys: new Uint32Array(0), promptTokens: 1,
    outputTokensMax: null, bodyBytes: 4,
  };
  const picked = picker.pick({
    request, endpoints: table.columns, pool: table, prefixSources: { approximate: () => {} },
    nowMs: 1_000, staleAfterMs: 1_000, seed: 1,
  });
  return table.endpoint(picked.slots[0]).id;
};
console.log(JSON.stringify({
  parameters: config.plugins.find(({ type }) => type === "spot-instance-filter").parameters,
  free: pickFor(0),
  paying: pickFor(10),
}));
`;

describe("docs/plugins.md", () => {
  let dir = "";

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "fairlead-plugin-"));
    cpSync("src/scheduler", join(dir, "src/scheduler"), { recursive: true });
    cpSync("tsconfig.json", join(dir, "tsconfig.json"));
    writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
    symlinkSync(resolve("node_modules"), join(dir, "node_modules"));
    const registry = join(dir, "src/scheduler/registry.ts");
    writeFileSync(join(dir, PLUGIN), block("ts"));
    writeFileSync(registry, applyDiff(readFileSync(registry, "utf8"), block("diff")));
    writeFileSync(join(dir, "pool.yaml"), block("yaml"));
    writeFileSync(join(dir, "program.ts"), PROGRAM);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it("is called as the file it says it is", () => {
    expect(text).toContain(`\`${PLUGIN}\``);
  });

  it("has an example that compiles", { timeout: 60_000 }, () => {
    const args = ["node_modules/typescript/bin/tsc", "-p", "src/scheduler"];
    expect(() => execFileSync(process.execPath, args, { cwd: dir, stdio: "pipe" })).not.toThrow();
  });

  it("has an example that does what it says", { timeout: 60_000 }, () => {
    const out = execFileSync(process.execPath, ["program.ts"], { cwd: dir, encoding: "utf8" });
    expect(JSON.parse(out)).toEqual({
      parameters: { label: "cloud.google.com/gke-spot", minPriority: 10 },
      free: "default/spot",
      paying: "default/kept",
    });
  });
});
