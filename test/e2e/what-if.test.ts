// Another configuration, judged by the requests there were, before and without putting it in force.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { profileDocument } from "../scheduler/support/profile-config.ts";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";

/** More than `config apply --require-what-if` needs. */
const REQUESTS = 110;
const CONCURRENCY = 5;
const SHARED = "A beginning that whoever answers the first request will hold. ".repeat(120);

let up: Fairlead;
let lastRequestId: string;
const dir = mkdtempSync(join(tmpdir(), "fairlead-what-if-"));
const cli = (...args: string[]) => fairlead([...args, "--state-dir", up.stateDir]);

async function ask(content: string): Promise<void> {
  const { response } = await up.client.chat.completions
    .create({ model: up.model, max_tokens: 1, messages: [{ role: "user", content }] })
    .withResponse();
  lastRequestId = response.headers.get("x-fairlead-request-id")!;
}

beforeAll(async () => {
  up = await startFairlead();
  await ask(`${SHARED} First.`);
  for (let i = 0; i < REQUESTS; i += CONCURRENCY)
    await Promise.all(Array.from({ length: CONCURRENCY }, (_, n) => ask(`${SHARED} ${i + n}`)));
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

/** Chooses by the prefix, or blind to it. */
const BY_PREFIX = profileDocument({ scorers: [{ type: "prefix-cache-scorer" }] });
const BLIND = profileDocument({
  scorers: [{ type: "queue-scorer" }],
  picker: { type: "max-score-picker" },
});

function fileOf(name: string, document: object): string {
  const file = join(dir, name);
  writeFileSync(file, stringify({ kind: "EndpointPickerConfig", ...document }));
  return file;
}

const version = async () => ((await up.admin("/config")) as { version: number }).version;

describe("fairlead what-if", () => {
  it("finds one that is blind to caches worse, and says by how much", async () => {
    const run = await cli("what-if", "--config", fileOf("blind.yaml", BLIND), "--since", "10m");
    expect(run.stderr.replaceAll(/^note:.*\n/gm, "")).toBe("");
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/^Pool local: worse$/m);
    expect(run.stdout).toMatch(/% of prompt tokens lose their cache/);
    expect(run.stdout).toMatch(/records reach back to 20\d\d-/);
    expect(run.stdout).toMatch(/checked by \d+ recorded requests/);
    expect(run.stdout).toContain("Decisions that differ");
  });

  it("finds one that looks at caches as good or better, as JSON", async () => {
    const file = fileOf("prefix.yaml", BY_PREFIX);
    const run = await cli("what-if", "--config", file, "--pool", "local", "--json");
    expect(run.code).toBe(0);
    const { pools } = JSON.parse(run.stdout) as {
      pools: { decisions: number; unreadable: number; calibration: { decisions: number } }[];
    };
    expect(pools).toHaveLength(1);
    expect(pools[0]!.decisions).toBeGreaterThan(REQUESTS);
    expect(pools[0]!.unreadable).toBe(0);
    expect(pools[0]!.calibration.decisions).toBeGreaterThan(0);
  });

  it("finds the configuration in force as good as itself", async () => {
    const file = join(dir, "same.yaml");
    writeFileSync(file, (await cli("config", "get")).stdout);
    const run = await cli("what-if", "--config", file);
    expect(run.stdout).toMatch(/^Pool local: as good$/m);
    expect(run.stdout).toMatch(/of which 0 \(0\.0%\) would go elsewhere/);
    expect(run.code).toBe(0);
  });

  it("compares what explain printed", async () => {
    const explained = await eventually("the request is explained", async () => {
      const run = await cli("explain", lastRequestId, "--json");
      return run.code === 0 ? run.stdout : undefined;
    });
    const file = join(dir, "explained.json");
    writeFileSync(file, `[${explained}, ${explained}]`);
    const config = fileOf("blind.yaml", BLIND);
    const run = await fairlead(["what-if", "--config", config, "--file", file, "--json"]);
    const { pools } = JSON.parse(run.stdout) as { pools: object[] };
    expect(pools).toMatchObject([{ pool: "local", decisions: 2 }]);
  });

  it("says what it cannot do, with status 2", async () => {
    const config = fileOf("blind.yaml", BLIND);
    const cases = [
      { args: ["--config", config, "--pool", "nobody"], says: "There is no pool nobody" },
      { args: ["--config", config, "--since", "soon"], says: "--since takes a time" },
      { args: ["--config", join(dir, "gone.yaml")], says: "gone.yaml" },
      { args: [], says: "--config FILE is missing" },
      {
        args: ["--config", config, "--admin-key", "wrong-admin-key"],
        says: "refused the admin key",
      },
    ];
    for (const { args, says } of cases) {
      const run = await cli("what-if", ...args);
      expect(run.stderr).toContain(says);
      expect(run.code).toBe(2);
    }
  });
});

describe("fairlead config apply --require-what-if", () => {
  it("refuses what would be worse, and changes nothing", async () => {
    const before = await version();
    const file = fileOf("blind.yaml", BLIND);
    const run = await cli("config", "apply", file, "--pool", "local", "--require-what-if");
    expect(run.code).toBe(1);
    expect(run.stderr).toContain("was not applied: pool local would be worse");
    expect(run.stdout).toMatch(/^Pool local: worse$/m);
    expect(await version()).toBe(before);
  });

  it("applies what is as good, and prints the comparison", async () => {
    const before = await version();
    const file = fileOf("prefix.yaml", BY_PREFIX);
    const run = await cli("config", "apply", file, "--pool", "local", "--require-what-if");
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toMatch(/^Pool local: (as good|better)$/m);
    expect(await version()).toBe(before + 1);
  });

  it("refuses what too few decisions can judge, unless that is allowed", async () => {
    const file = fileOf("default.yaml", profileDocument({}));
    const args = ["config", "apply", file, "--pool", "local", "--require-what-if", "--since", "1s"];
    // Until the newest decision is older than a second.
    const refused = await eventually("there are few decisions", async () => {
      const run = await cli(...args);
      return run.code === 1 ? run : undefined;
    });
    expect(refused.stderr).toMatch(/pool local has \d+ decisions on record, of the 100/);
    expect(await cli(...args, "--allow-few-decisions")).toMatchObject({ code: 0 });
  });

  it("compares nothing where no pool's scheduling changes", async () => {
    const file = join(dir, "same.yaml");
    writeFileSync(file, (await cli("config", "get")).stdout);
    const run = await cli("config", "apply", file, "--require-what-if");
    expect(run.code).toBe(0);
    expect(run.stdout).not.toContain("Pool local:");
  });
});

describe("a shadow configuration", () => {
  it("is told beside each decision and counted", async () => {
    const file = join(dir, "shadowed.yaml");
    const config = parse((await cli("config", "get")).stdout) as { pools: object[] };
    const pools = config.pools.map((pool) => ({ ...pool, shadow: BLIND }));
    writeFileSync(file, stringify({ ...config, pools }));
    expect(await cli("config", "apply", file)).toMatchObject({ code: 0 });
    const explained = await eventually("the shadow looks on", async () => {
      await ask("Who would have answered?");
      const run = await cli("explain", lastRequestId);
      return run.stdout.includes("the shadow would have") ? run.stdout : undefined;
    });
    expect(explained).toMatch(/the shadow would have chosen (the same|127\.0\.0\.1:\d+)/);
    const { shadow } = (await up.admin("/pools/local")) as { shadow: { decisions: number } };
    expect(shadow.decisions).toBeGreaterThan(0);
  });
});
