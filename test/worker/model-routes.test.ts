import { describe, expect, it } from "vitest";
import { parseDeployment } from "../../src/config/deployment.ts";
import { ModelRewrites } from "../../src/scheduler/rewrite/model-rewrites.ts";
import { DirectoryIndex, type Pool } from "../../src/worker/directory-index.ts";
import { findRoutes, type RoutedRequest } from "../../src/worker/model-routes.ts";
import { parsersNamed } from "../../src/worker/parsers/built-parsers.ts";

const rewrite = (value: string, ...targets: { modelRewrite: string; weight?: number }[]) => ({
  name: `rewrite-${value}`,
  rules: [{ matches: value === "" ? [] : [{ model: { value } }], targets }],
});

function index(): DirectoryIndex {
  const pool = (name: string, models: string[], modelRewrites?: unknown) => ({
    name,
    region: "eu",
    models,
    modelRewrites,
    agentToken: "agent-token-0123456789",
    relays: [{ url: "http://relay", keys: [{ id: "k1", secret: "a-secret-0123456789" }] }],
  });
  const halves = [
    { modelRewrite: "x", weight: 1 },
    { modelRewrite: "y", weight: 1 },
  ];
  const parsed = parseDeployment({
    version: 1,
    pools: [
      pool("one", ["m"]),
      pool(
        "two",
        ["other"],
        [rewrite("m", { modelRewrite: "m-int4" }), rewrite("half", ...halves)],
      ),
      pool("three", ["z"], [rewrite("", { modelRewrite: "default" }), rewrite("half", ...halves)]),
    ],
    tenants: [{ id: "t", keys: ["a-key-0123456789"] }],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return new DirectoryIndex(1, parsed.value);
}

const directory = index();
const REQUEST: Omit<RoutedRequest, "model"> = {
  path: "/v1/chat/completions",
  parser: "openai-parser",
  tenant: {
    id: "t",
    priority: 0,
    weight: 1,
    isolated: false,
    trustedHop: false,
    regions: ["*"],
    models: ["*"],
    jurisdictions: ["*"],
    variantFallback: true,
  },
  seed: 1,
};

function routesOf(model: string | null, overrides: Partial<RoutedRequest> = {}) {
  const routes = findRoutes(directory, { ...REQUEST, model, ...overrides });
  if (!routes.ok) return routes.error.code;
  return routes.value.map((route) => [route.pool.config.name, route.model, route.rewrite]);
}

describe("findRoutes", () => {
  it.for([
    {
      name: "each pool calls the model what it calls it",
      model: "m",
      expected: [
        ["one", "m", null],
        ["two", "m-int4", "rewrite-m"],
      ],
    },
    {
      name: "a generic rule rewrites what the pool serves anyway",
      model: "z",
      expected: [["three", "default", "rewrite-"]],
    },
    {
      name: "a request without a model goes where a rule serves it",
      model: null,
      expected: [["three", "default", "rewrite-"]],
    },
    { name: "nobody serves what nobody names", model: "nowhere", expected: "model_not_found" },
  ])("$name", ({ model, expected }) => {
    expect(routesOf(model)).toEqual(expected);
  });

  it("draws the same for the same request, and both for many", () => {
    const drawn = (seed: number) => JSON.stringify(routesOf("half", { seed }));
    const seeds = Array.from({ length: 200 }, (_, i) => i * 0x1234567);
    expect(drawn(77)).toBe(drawn(77));
    // Pools with the same weights draw the same: a failover keeps the target.
    expect(new Set(seeds.map(drawn))).toEqual(
      new Set([
        '[["two","x","rewrite-half"],["three","x","rewrite-half"]]',
        '[["two","y","rewrite-half"],["three","y","rewrite-half"]]',
      ]),
    );
  });

  it("passes over pools that read the path otherwise, or not at all", () => {
    const [one, two] = directory.poolsServing("m", REQUEST.tenant) as [Pool, Pool];
    const route = (...parsers: string[][]) => {
      const pools = [one, two].map((pool, i) => ({ ...pool, parsers: parsersNamed(parsers[i]!) }));
      const found = findRoutes({ poolsServing: () => pools }, { ...REQUEST, model: "m" });
      return found.ok ? found.value.map(({ pool }) => pool.config.name) : found.error;
    };
    expect(route(["openai-parser"], ["openai-parser"])).toEqual(["one", "two"]);
    expect(route(["anthropic-parser"], ["openai-parser"])).toEqual(["two"]);
    // What stands behind the parser that takes everything is not used.
    expect(route(["passthrough-parser", "openai-parser"], ["openai-parser"])).toEqual(["two"]);
    expect(route(["anthropic-parser"], [])).toMatchObject({
      code: "not_found",
      message: expect.stringContaining("/v1/chat/completions") as string,
    });
  });
});

describe("variants", () => {
  const TENANT = { ...REQUEST.tenant, variantFallback: false };

  interface Written {
    readonly tier?: number;
    readonly variants?: Record<string, string>;
    readonly target?: string;
  }

  /** Pools "0", "1", … that serve "m". */
  function routed(pools: readonly Written[], variantFallback = false) {
    const [base] = directory.poolsServing("m", TENANT) as [Pool];
    const serving = pools.map(({ tier = 0, variants, target }, i): Pool => {
      const pool = base;
      const config = { ...pool.config, name: String(i), failoverTier: tier };
      const rewrites = target === undefined ? pool.rewrites : rewriting(target);
      return {
        ...pool,
        config: variants === undefined ? config : { ...config, variants },
        rewrites,
      };
    });
    const found = findRoutes(
      { poolsServing: () => serving },
      { ...REQUEST, model: "m", tenant: { ...TENANT, variantFallback } },
    );
    if (!found.ok) throw new Error(found.error.message);
    return found.value.map(
      ({ pool, variant, isFallback }) =>
        `${pool.config.name}${isFallback ? "!" : ""}${variant === null ? "" : ` ${variant}`}`,
    );
  }

  function rewriting(target: string): Pool["rewrites"] {
    return new ModelRewrites([
      { name: "r", rules: [{ matches: [], targets: [{ modelRewrite: target }] }] },
    ]);
  }

  const fp8 = { m: "fp8" };
  const int4 = { m: "int4" };

  it.for<{ name: string; pools: Written[]; strict: string[]; lenient: string[] }>([
    {
      name: "pools that say nothing are equal",
      pools: [{}, {}],
      strict: ["0", "1"],
      lenient: ["0", "1"],
    },
    {
      name: "another variant is for those who allow it, and comes last",
      pools: [{ variants: fp8 }, { variants: int4 }, { variants: fp8 }],
      strict: ["0 fp8", "2 fp8"],
      lenient: ["0 fp8", "2 fp8", "1! int4"],
    },
    {
      name: "a pool that does not say is no pool that does",
      pools: [{ variants: fp8 }, {}, { variants: { other: "fp8" } }],
      strict: ["0 fp8"],
      lenient: ["0 fp8", "1!", "2!"],
    },
    {
      name: "the lowest tier says which variant is the request's, not the first pool",
      pools: [{ variants: int4, tier: 1 }, { variants: fp8 }, { variants: int4 }],
      strict: ["1 fp8"],
      lenient: ["1 fp8", "0! int4", "2! int4"],
    },
    {
      name: "a model of another name is another model",
      pools: [{}, { target: "m-int4" }],
      strict: ["0"],
      lenient: ["0", "1!"],
    },
    {
      name: "one variant may go by several names",
      pools: [{ variants: fp8 }, { target: "M-FP8", variants: { "M-FP8": "fp8" } }],
      strict: ["0 fp8", "1 fp8"],
      lenient: ["0 fp8", "1 fp8"],
    },
    {
      name: "what engines are asked for counts before the client's name",
      pools: [{ variants: fp8 }, { target: "x", variants: { x: "int4", m: "fp8" } }],
      strict: ["0 fp8"],
      lenient: ["0 fp8", "1! int4"],
    },
  ])("$name", ({ pools, strict, lenient }) => {
    expect(routed(pools)).toEqual(strict);
    expect(routed(pools, true)).toEqual(lenient);
  });
});
