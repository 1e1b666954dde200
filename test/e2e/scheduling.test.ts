// One pool's scheduling replaced while it serves, with the whole stack running.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";

const GUIDE = "test/fixtures/guides/optimized-baseline.yaml";
const EXPERIMENTAL = "test/fixtures/guides/session-affinity.yaml";

let up: Fairlead;
const dir = mkdtempSync(join(tmpdir(), "fairlead-scheduling-"));
beforeAll(async () => {
  up = await startFairlead();
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

const cli = (...args: string[]) => fairlead([...args, "--state-dir", up.stateDir]);
const apply = (file: string) => cli("config", "apply", file, "--pool", "local");

async function ask(content: string): Promise<string> {
  const { response } = await up.client.chat.completions
    .create({ model: up.model, messages: [{ role: "user", content }], max_tokens: 4 })
    .withResponse();
  return response.headers.get("x-fairlead-request-id")!;
}

interface Written {
  readonly attempts: readonly {
    readonly scheduler: { readonly plugins: readonly { name: string }[] };
  }[];
}

/** Names of the plugins that the pool's next request is scheduled by. */
async function pluginsInUse(): Promise<string[]> {
  const requestId = await ask("By whom?");
  const { stdout } = await cli("explain", requestId, "--json");
  const { attempts } = JSON.parse(stdout) as Written;
  return attempts[0]!.scheduler.plugins.map(({ name }) => name);
}

async function storedScheduler(): Promise<unknown> {
  const { stdout } = await cli("config", "get");
  return (parse(stdout) as { pools: { scheduler: unknown }[] }).pools[0]!.scheduler;
}

it("takes an llm-d guide for one pool while requests go on, and gives it up again", async () => {
  expect(await pluginsInUse()).toContain("ejection-filter");
  let isOver = false;
  const asking = (async () => {
    let answered = 0;
    for (; !isOver; answered++) await ask(`Request ${answered} goes on.`);
    return answered;
  })();
  try {
    const applied = await apply(GUIDE);
    expect(applied).toMatchObject({ code: 0, stderr: "" });
    expect(applied.stdout).toMatch(/^Version \d+ of the configuration is in use/);
    await eventually("the guide is in use", async () =>
      (await pluginsInUse()).includes("ejection-filter") ? undefined : true,
    );
  } finally {
    isOver = true;
  }
  // Each was answered: the client does not try again what the deployment refuses.
  expect(await asking).toBeGreaterThan(0);
  expect(await storedScheduler()).toMatchObject({ kind: "EndpointPickerConfig" });

  const ours = join(dir, "ours.yaml");
  writeFileSync(
    ours,
    stringify({ plugins: [{ type: "ejection-filter" }, { type: "queue-scorer" }] }),
  );
  expect(await apply(ours)).toMatchObject({ code: 0 });
  await eventually("ours is in use", async () =>
    (await pluginsInUse()).includes("ejection-filter") ? true : undefined,
  );
});

it("refuses a bad one with all of its mistakes, and the old one stays", async () => {
  const before = await storedScheduler();
  const bad = join(dir, "bad.yaml");
  writeFileSync(bad, "kind: EndpointPickerConfig\nplugins: [{ type: quue-scorer }]\nparsers: []\n");
  const refused = await apply(bad);
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain("parsers: unknown field 'parsers' (did you mean 'parser'?)");
  expect(refused.stderr).toContain("plugins[0].type: plugin type 'quue-scorer' is not registered");
  const experimental = await apply(EXPERIMENTAL);
  expect(experimental.code).toBe(1);
  expect(experimental.stderr).toContain("has Alpha stability level");
  expect(await storedScheduler()).toEqual(before);
});

it("says what --pool takes, and which pools there are", async () => {
  const other = await cli("config", "apply", GUIDE, "--pool", "nowhere");
  expect(other.stderr).toContain("There is no pool nowhere in version");
  expect(other.stderr).toContain("there are: local.");
  const whole = join(dir, "whole.yaml");
  writeFileSync(whole, (await cli("config", "get")).stdout);
  expect((await apply(whole)).stderr).toContain("is not an EndpointPickerConfig");
  expect((await cli("config", "apply", GUIDE)).stderr).toContain(
    "say whose it is to be with --pool",
  );
  const late = await cli("config", "apply", GUIDE, "--pool", "local", "--if-version", "1");
  expect(late.stderr).toMatch(/was not applied: .*version/);
});
