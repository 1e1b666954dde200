import { describe, expect, it } from "vitest";
import { type Deployment, parseDeployment } from "../../src/config/deployment.ts";
import { DirectoryIndex } from "../../src/worker/directory-index.ts";
import { metrics } from "../../src/worker/metrics.ts";
import { poolTag } from "../../src/worker/request-id.ts";

const HASH = (digit: string) => `sha256:${digit.repeat(64)}`;

function rewrite(name: string, models: string[], targets: string[]) {
  const matches = models.map((value) => ({ model: { value } }));
  return { name, rules: [{ matches, targets: targets.map((to) => ({ modelRewrite: to })) }] };
}

function deployment(): Deployment {
  const pool = (name: string, region: string, models: string[], modelRewrites?: unknown) => ({
    name,
    region,
    models,
    modelRewrites,
    agentToken: HASH("f"),
    relays: [{ url: "http://relay", keys: [{ id: "k1", secret: "a-secret-0123456789" }] }],
  });
  const parsed = parseDeployment({
    version: 1,
    pools: [
      pool("eu-2", "eu", ["a", "b"]),
      pool("eu-1", "eu", ["a"]),
      pool(
        "us-1",
        "us",
        ["a", "c"],
        [rewrite("canary", ["a", "alias"], ["hidden"]), rewrite("rest", [], ["b", "c"])],
      ),
    ],
    tenants: [
      { id: "all", keys: [HASH("1"), HASH("2")] },
      { id: "eu-only", keys: [HASH("3")], regions: ["eu"] },
      { id: "b-only", keys: [HASH("4")], models: ["b"] },
    ],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value;
}

/** As a directory of before `plugins` completes and stores what was left open. */
const FORMER = {
  schedulingProfiles: [
    {
      name: "default",
      filters: [{ type: "ejection-filter" }, { type: "metrics-freshness-filter" }],
      scorers: [
        { type: "queue-scorer", weight: 2 },
        { type: "kv-cache-utilization-scorer", weight: 2 },
        { type: "prefix-cache-scorer", weight: 3 },
        { type: "no-hit-lru-scorer", weight: 2 },
      ],
      picker: { type: "max-score-picker", params: { maxNumOfEndpoints: 4 } },
    },
  ],
};
/** As a directory of a later release may. */
const LATER = { plugins: [{ type: "scorer-of-tomorrow" }] };
const STICKY = {
  plugins: [{ type: "session-affinity-scorer" }, { type: "max-score-picker" }],
  schedulingProfiles: [{ name: "only", plugins: [{ pluginRef: "session-affinity-scorer" }] }],
};

function fallbacks(): number {
  const line = metrics
    .render()
    .split("\n")
    .find((each) => each.startsWith("fairlead_config_fallbacks_total"));
  return Number(line?.split(" ")[1] ?? 0);
}

describe("DirectoryIndex", () => {
  const directory = new DirectoryIndex(7, deployment());
  const tenant = (digit: string) => directory.tenantOf(HASH(digit))!;

  it("finds a tenant by each of its keys, and nobody by another", () => {
    expect(tenant("1").id).toBe("all");
    expect(tenant("2").id).toBe("all");
    expect(directory.tenantOf(HASH("9"))).toBeUndefined();
    expect(tenant("1")).not.toHaveProperty("keys");
  });

  it("knows each tenant's weight by its id, and which pools have a queue", () => {
    const config = deployment();
    const [eu2, ...pools] = config.pools;
    const scheduler = { featureGates: ["flowControl"] };
    const [all, ...tenants] = config.tenants;
    const index = new DirectoryIndex(8, {
      ...config,
      pools: [{ ...eu2!, scheduler }, ...pools],
      tenants: [{ ...all!, weight: 4 }, ...tenants],
    });
    expect(["all", "eu-only", "nobody"].map((id) => index.weightOf(id))).toEqual([4, 1, undefined]);
    expect(["eu-2", "eu-1"].map((name) => index.pool(name)?.hasQueue)).toEqual([true, false]);
  });

  it.for([
    { key: "1", model: "a", pools: ["eu-2", "eu-1", "us-1"] },
    { key: "3", model: "a", pools: ["eu-2", "eu-1"] },
    { key: "3", model: "c", pools: [] },
    { key: "4", model: "a", pools: [] },
    { key: "4", model: "b", pools: ["eu-2"] },
    { key: "1", model: "no-such-model", pools: [] },
    // A rewrite's name is served as the engines' own are; what it becomes is not.
    { key: "1", model: "alias", pools: ["us-1"] },
    { key: "3", model: "alias", pools: [] },
    { key: "4", model: "alias", pools: [] },
    { key: "1", model: "hidden", pools: [] },
    // A request without a model goes where a generic rule serves it, to models one may use.
    { key: "1", model: null, pools: ["us-1"] },
    { key: "3", model: null, pools: [] },
    { key: "4", model: null, pools: [] },
  ])("key $key finds $pools for model $model", ({ key, model, pools }) => {
    const found = directory.poolsServing(model, tenant(key));
    expect(found.map((pool) => pool.config.name)).toEqual(pools);
  });

  it("gives nothing of a tenant of one jurisdiction to a pool of another, or of none", () => {
    const { pools, tenants, ...rest } = deployment();
    const [eu2, eu1, us1] = pools;
    const index = new DirectoryIndex(8, {
      ...rest,
      pools: [{ ...eu2!, jurisdiction: "eu" }, eu1!, { ...us1!, jurisdiction: "us" }],
      tenants,
    });
    const names = (...jurisdictions: ("*" | "eu" | "us" | "fedramp")[]) =>
      index.poolsServing("a", { ...tenant("1"), jurisdictions }).map(({ config }) => config.name);
    expect(names("*")).toEqual(["eu-2", "eu-1", "us-1"]);
    expect(names("eu")).toEqual(["eu-2"]);
    expect(names("eu", "us")).toEqual(["eu-2", "us-1"]);
    expect(names("fedramp")).toEqual([]);
    const bound = { ...tenant("1"), jurisdictions: ["us" as const] };
    expect(index.modelsOf(bound)).toEqual(["a", "c", "alias"]);
  });

  it("does without what a directory of the version before does not tell", () => {
    const told = JSON.parse(JSON.stringify(deployment())) as Record<string, unknown> & {
      pools: Record<string, unknown>[];
      tenants: Record<string, unknown>[];
    };
    delete told["routing"];
    for (const pool of told.pools)
      for (const name of ["failoverTier", "extraMs", "rttMs", "upstreams"]) delete pool[name];
    for (const each of told.tenants)
      for (const name of ["jurisdictions", "variantFallback"]) delete each[name];
    const index = new DirectoryIndex(8, told as unknown as Deployment);
    expect(index.routing).toEqual(deployment().routing);
    expect(index.pool("us-1")?.config).toEqual(deployment().pools[2]);
    expect(index.poolsServing("a", index.tenantOf(HASH("1"))!)).toHaveLength(3);
  });

  it("lists the models a tenant may use", () => {
    expect(directory.modelsOf(tenant("1"))).toEqual(["a", "b", "c", "alias"]);
    expect(directory.modelsOf(tenant("3"))).toEqual(["a", "b"]);
    expect(directory.modelsOf(tenant("4"))).toEqual(["b"]);
  });

  it("finds a pool by its tag", () => {
    const [found] = directory.poolsTagged(poolTag("us-1"));
    expect(found?.config.name).toBe("us-1");
    expect(directory.poolsTagged("00000000")).toEqual([]);
  });
});

describe("a pool whose scheduling this release cannot read", () => {
  it.for([
    { name: "an earlier release's", scheduler: FORMER },
    { name: "a later release's", scheduler: LATER },
  ])("is served by the default, as $name", ({ scheduler }) => {
    const { pools, ...rest } = deployment();
    const [first, ...others] = pools;
    const before = fallbacks();
    const directory = new DirectoryIndex(8, {
      ...rest,
      pools: [{ ...first!, scheduler }, ...others],
    });
    const byDefault = new DirectoryIndex(7, deployment()).pool(first!.name)!;
    const { parsers, requestHeaders } = directory.pool(first!.name)!;
    expect(parsers.parsers).toEqual(byDefault.parsers.parsers);
    expect(requestHeaders).toEqual(byDefault.requestHeaders);
    expect(directory.modelsOf(directory.tenantOf(HASH("1"))!)).toContain("alias");
    expect(fallbacks()).toBe(before + 1);
  });

  it("keeps its scheduling where only the shadow cannot be read", () => {
    const { pools, ...rest } = deployment();
    const [first] = pools;
    const before = fallbacks();
    const directory = new DirectoryIndex(8, {
      ...rest,
      pools: [{ ...first!, scheduler: STICKY, shadow: LATER }],
    });
    expect(directory.pool(first!.name)!.requestHeaders).toEqual(["x-session-token"]);
    expect(fallbacks()).toBe(before);
  });
});
