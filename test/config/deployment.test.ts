import { describe, expect, it } from "vitest";
import { DEPLOYMENT_LIMITS, parseDeployment } from "../../src/config/deployment.ts";

const SECRET = "a-secret-of-some-length";

/** A configuration on its way to becoming wrong: every field may be replaced by anything. */
interface Draft {
  version: number;
  pools: Record<string, unknown>[];
  tenants: Record<string, unknown>[];
}

function deployment(change: (config: Draft) => void = () => {}): Draft {
  const config: Draft = {
    version: 1,
    pools: [
      {
        name: "eu-1",
        region: "eu",
        models: ["llama"],
        agentToken: SECRET,
        relays: [{ url: "http://127.0.0.1:9100", keys: [{ id: "k1", secret: SECRET }] }],
      },
    ],
    tenants: [{ id: "acme", keys: ["sk-acme-000000000"] }],
  };
  change(config);
  return config;
}

const REWRITE = {
  name: "fast",
  rules: [{ matches: [{ model: { value: "fast" } }], targets: [{ modelRewrite: "llama" }] }],
};

const OBJECTIVE = { name: "batch", priority: -10 };

function issues(input: unknown): string[] {
  const parsed = parseDeployment(input);
  return parsed.ok ? [] : parsed.issues.map((issue) => `${issue.path}: ${issue.message}`);
}

describe("parseDeployment", () => {
  it("fills every default", () => {
    const parsed = parseDeployment(deployment());
    expect(parsed).toMatchObject({
      ok: true,
      value: {
        limits: { bodyBytesMax: 16 * 1024 * 1024 },
        pools: [{ scrapeIntervalMs: 200 }],
        tenants: [{ priority: 0, weight: 1, isolated: false, regions: ["*"], models: ["*"] }],
      },
    });
  });

  it("lets tenants name what a pool's rewrites match", () => {
    const draft = (rewrites: unknown, model: string) =>
      deployment((config: Draft) => {
        config.pools[0]!["modelRewrites"] = rewrites;
        config.tenants[0]!["models"] = ["llama", model];
      });
    expect(issues(draft([REWRITE], "fast"))).toEqual([]);
    expect(issues(draft([REWRITE], "slow"))).toEqual(["tenants[0].models: no pool serves slow"]);
    // What cannot be read may match the name: it is one mistake, not two.
    expect(issues(draft([{ ...REWRITE, rules: 7 }], "slow"))).toHaveLength(1);
  });

  it("lets tenants name the objectives of any pool", () => {
    const draft = (objectives: unknown) =>
      deployment((config: Draft) => {
        config.pools.push({ ...config.pools[0]!, name: "eu-2", objectives });
        config.tenants[0]!["objective"] = "batch";
      });
    expect(issues(draft([OBJECTIVE]))).toEqual([]);
    expect(issues(draft([]))).toHaveLength(1);
    // What cannot be read may be of that name: it is one mistake, not two.
    expect(issues(draft([{ ...OBJECTIVE, name: 7 }]))).toHaveLength(1);
  });

  it("accepts as many objectives as the limit and not one more", () => {
    const withObjectives = (count: number) =>
      deployment((config: Draft) => {
        config.pools[0]!["objectives"] = Array.from({ length: count }, (_, i) => ({
          name: `o-${i}`,
          priority: 0,
        }));
      });
    expect(issues(withObjectives(DEPLOYMENT_LIMITS.objectivesPerPoolMax))).toEqual([]);
    expect(issues(withObjectives(DEPLOYMENT_LIMITS.objectivesPerPoolMax + 1))).toHaveLength(1);
  });

  it("reports every mistake at once, each with its path", () => {
    const found = issues(
      deployment((config: Draft) => {
        const pool = config.pools[0]!;
        pool["relays"] = [{ url: "ftp://x", keys: [] }];
        pool["modles"] = [];
        config.tenants[0]!["weight"] = 0;
      }),
    );
    expect(found.map((line) => line.split(":")[0])).toEqual(
      expect.arrayContaining([
        "pools[0].relays[0].url",
        "pools[0].relays[0].keys",
        "pools[0]",
        "tenants[0].weight",
      ]),
    );
    expect(found.join("\n")).toContain("modles");
  });

  it("reports a number that is not whole beside all other mistakes", () => {
    const found = issues(
      deployment((config: Draft) => {
        const pool = config.pools[0]!;
        pool["objectives"] = [
          { name: "a", priority: 1.5 },
          { name: "b", ttftSloMs: 0.5 },
          OBJECTIVE,
        ];
        pool["modelRewrites"] = [
          { ...REWRITE, rules: [{ targets: [{ modelRewrite: "llama", weight: 2.5 }] }] },
        ];
        pool["scrapeIntervalMs"] = 100.5;
        pool["scheduler"] = { plugins: [{ type: "quue-scorer" }] };
        pool["shadow"] = { plugins: [{ type: "quue-scorer" }] };
        config.pools.push({ ...pool, relays: [] });
        config.tenants[0]!["priority"] = 0.1;
        config.tenants[0]!["isolated"] = true;
        Object.assign(config, { limits: { bodyBytesMax: 2048.5 } });
      }),
    );
    const whole = "expected a whole number";
    const ofPool = (p: number) => [
      `pools[${p}].objectives[0].priority: ${whole}`,
      `pools[${p}].objectives[1].ttftSloMs: ${whole}`,
      `pools[${p}].modelRewrites[0].rules[0].targets[0].weight: ${whole}`,
      `pools[${p}].scrapeIntervalMs: ${whole}`,
      expect.stringContaining(`pools[${p}].scheduler.plugins[0].type: `),
      expect.stringContaining(`pools[${p}].shadow.plugins[0].type: `),
    ];
    expect(found).toEqual(
      expect.arrayContaining([
        ...ofPool(0),
        ...ofPool(1),
        expect.stringContaining("pools[1].relays: "),
        "pools: two pools are named eu-1",
        `tenants[0].priority: ${whole}`,
        "tenants[0].salt: an isolated tenant needs a salt",
        `limits.bodyBytesMax: ${whole}`,
      ]),
    );
  });

  it("takes llm-d's objectives: a priority of 32 bits, and 0 for none", () => {
    const priorities = (...written: unknown[]) => {
      const objectives = written.map((priority, i) => ({ name: `o-${i}`, priority }));
      const parsed = parseDeployment(
        deployment((config: Draft) => (config.pools[0]!["objectives"] = objectives)),
      );
      return parsed.ok && parsed.value.pools[0]!.objectives!.map(({ priority }) => priority);
    };
    expect(priorities(undefined, -(2 ** 31), 2 ** 31 - 1)).toEqual([0, -(2 ** 31), 2 ** 31 - 1]);
    expect(priorities(-(2 ** 31) - 1)).toBe(false);
    expect(priorities(2 ** 31)).toBe(false);
  });

  it("reports contradictions beside mistakes of form, and none that it cannot know", () => {
    const found = issues(
      deployment((config: Draft) => {
        config.pools.push({ ...config.pools[0], region: 5 }, 7 as never);
        config.tenants[0]!["priority"] = "high";
        config.tenants[0]!["regions"] = ["mars"];
        config.tenants[0]!["isolated"] = true;
        config.tenants.push({ id: "acme", keys: ["sk-acme-000000000", 3] });
      }),
    );
    expect(found).toEqual(
      expect.arrayContaining([
        "pools: two pools are named eu-1",
        "tenants: two tenants have the id acme",
        "tenants[1].keys[0]: the key is also a key of tenant acme",
        "tenants[0].salt: an isolated tenant needs a salt",
        "tenants[0].priority: Invalid input: expected number, received string",
      ]),
    );
    // The pool whose region cannot be read may be the one on Mars.
    expect(found.join("\n")).not.toContain("mars");
  });

  it.for([null, 5, "text", [], {}, { version: 1, pools: {}, tenants: [null, 5] }])(
    "lists the mistakes of %j instead of throwing",
    (input) => expect(issues(input)).not.toEqual([]),
  );

  it("says what a key, a secret and a relay's URL must be", () => {
    const found = issues(
      deployment((config: Draft) => {
        config.pools[0]!["agentToken"] = "short";
        config.pools[0]!["relays"] = [{ url: "ftp://x", keys: [{ id: "k1", secret: "brief" }] }];
        config.tenants[0]!["keys"] = ["tiny", "sha256:1234567890abcdef"];
      }),
    );
    const key = "expected at least 16 characters, or sha256: and 64 hex digits in lower case";
    expect(found).toEqual([
      `pools[0].agentToken: ${key}`,
      "pools[0].relays[0].url: expected a URL that begins with http:// or https://",
      "pools[0].relays[0].keys[0].secret: expected a secret of at least 16 characters, or <kept>",
      `tenants[0].keys[0]: ${key}`,
      `tenants[0].keys[1]: ${key}`,
    ]);
  });

  it("never repeats a secret in a message", () => {
    const secret = "sha256:not-hex-but-secret";
    const found = issues(
      deployment((config: Draft) => {
        config.tenants[0]!["keys"] = [secret, "short"];
      }),
    );
    expect(found).not.toEqual([]);
    expect(found.join("\n")).not.toContain("not-hex-but-secret");
    expect(found.join("\n")).not.toContain("short\n");
  });

  it.for([
    {
      name: "two pools of one name",
      change: (config: Draft) => config.pools.push(config.pools[0]!),
      want: "two pools are named eu-1",
    },
    {
      name: "a key that belongs to two tenants",
      change: (config: Draft) => config.tenants.push({ id: "other", keys: ["sk-acme-000000000"] }),
      want: "the key is also a key of tenant acme",
    },
    {
      name: "a region without a pool",
      change: (config: Draft) => (config.tenants[0]!["regions"] = ["mars"]),
      want: "no pool is in region mars",
    },
    {
      name: "a model nobody serves",
      change: (config: Draft) => (config.tenants[0]!["models"] = ["gpt-9"]),
      want: "no pool serves gpt-9",
    },
    {
      name: "two rewrites of one name",
      change: (config: Draft) => (config.pools[0]!["modelRewrites"] = [REWRITE, REWRITE]),
      want: "pools[0].modelRewrites[1].name: two rewrites of the pool are named fast",
    },
    {
      name: "two objectives of one name",
      change: (config: Draft) => (config.pools[0]!["objectives"] = [OBJECTIVE, OBJECTIVE]),
      want: "pools[0].objectives: two objectives are named batch",
    },
    {
      name: "an objective that no pool has",
      change: (config: Draft) => (config.tenants[0]!["objective"] = "batch"),
      want: "tenants[0].objective: no pool has an objective batch",
    },
    {
      name: "an objective that is no Kubernetes name",
      change: (config: Draft) =>
        (config.pools[0]!["objectives"] = [{ ...OBJECTIVE, name: "Batch Work" }]),
      want: "pools[0].objectives[0].name: expected lower-case letters",
    },
    {
      name: "a webhook that is no web address",
      change: (config: Draft) => (config.pools[0]!["capacityWebhook"] = { url: "file:///x" }),
      want: "pools[0].capacityWebhook.url: expected a URL that begins with http",
    },
    {
      name: "isolation without a salt",
      change: (config: Draft) => (config.tenants[0]!["isolated"] = true),
      want: "an isolated tenant needs a salt",
    },
  ])("refuses $name", ({ change, want }) => {
    expect(issues(deployment(change)).join("\n")).toContain(want);
  });

  it("accepts as many keys as the limit and not one more", () => {
    const withKeys = (count: number) =>
      deployment((config: Draft) => {
        config.tenants[0]!["keys"] = Array.from(
          { length: count },
          (_, i) => `sk-acme-${String(i).padStart(12, "0")}`,
        );
      });
    expect(issues(withKeys(DEPLOYMENT_LIMITS.keysPerTenantMax))).toEqual([]);
    expect(issues(withKeys(DEPLOYMENT_LIMITS.keysPerTenantMax + 1))).toHaveLength(1);
  });

  it("tells the mistakes of a pool's scheduling beside all others, and keeps what was written", () => {
    const scheduler = { plugins: [{ type: "queue-scorer" }, { type: "max-score-picker" }] };
    const parsed = parseDeployment(
      deployment((config) => {
        config.pools[0]!["scheduler"] = scheduler;
      }),
    );
    expect(parsed).toMatchObject({
      ok: true,
      value: { pools: [{ scheduler, allowExperimentalPlugins: false }] },
    });
    const told = issues(
      deployment((config) => {
        config.pools[0]!["scheduler"] = { plugins: [{ type: "quue-scorer" }] };
        config.pools[0]!["region"] = 5;
        config.pools.push("nothing" as never);
      }),
    );
    expect(told.map((line) => line.split(":")[0]!).toSorted((a, b) => a.localeCompare(b))).toEqual([
      "pools[0].region",
      "pools[0].scheduler.plugins[0].type",
      "pools[1]",
    ]);
  });

  it("takes a shadow, of which there is none unless it is written", () => {
    const parsed = (change: (pool: Record<string, unknown>) => void) =>
      parseDeployment(deployment((config) => change(config.pools[0]!)));
    const without = parsed(() => {});
    expect(without.ok && "shadow" in without.value.pools[0]!).toBe(false);
    const shadow = { plugins: [{ type: "queue-scorer" }] };
    expect(parsed((pool) => (pool["shadow"] = shadow))).toMatchObject({
      ok: true,
      value: { pools: [{ shadow }] },
    });
    const told = issues(
      deployment((config) => {
        config.pools[0]!["shadow"] = { plugins: [{ type: "quue-scorer" }] };
      }),
    );
    expect(told).toEqual([expect.stringContaining("pools[0].shadow.plugins[0].type")]);
  });
});
