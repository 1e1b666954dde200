import { describe, expect, it } from "vitest";
import { parseDeployment } from "../../src/config/deployment.ts";
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
    variantFallback: false,
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
    // Each pool draws for itself.
    expect(new Set(seeds.map(drawn)).size).toBe(4);
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
