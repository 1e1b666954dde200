import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ModelRoute } from "../../../src/worker/model-routes.ts";
import {
  type ChosenFor,
  choosePools,
  isolatePools,
  openRoutes,
} from "../../../src/worker/pools/choose-pools.ts";
import { knownPools } from "../../../src/worker/pools/known-pools.ts";
import { poolsDirectory } from "./support/many-pools.ts";

// This isolate's: what a test tells it is taken back after.
const NAMES = ["choose-a", "choose-b"];
let revision = 0;

function drain(...pools: string[]): void {
  const read = { epoch: "choose", revision: ++revision, summaries: [], digests: [] };
  knownPools.update({ ...read, drained: pools }, Date.now());
}

beforeEach(() => knownPools.configure(NAMES));
afterEach(() => {
  drain();
  knownPools.configure([]);
});

const prepared = {
  keys: new Uint32Array(),
  promptTokens: 10,
  outputTokensMax: 10,
} as unknown as ReturnType<ChosenFor["prepared"]["get"]>;

function choosing(routing: Record<string, unknown> = {}) {
  const directory = poolsDirectory(
    NAMES.map((name) => ({ name })),
    routing,
  );
  const routes = directory.pools.map((pool): ModelRoute => ({
    pool,
    model: "m",
    rewrite: null,
    variant: null,
    isFallback: false,
  }));
  const chosenFor = {
    directory,
    requestId: "r",
    seed: 1,
    tenant: { id: "t" } as ChosenFor["tenant"],
    headers: new Headers(),
    promptCacheKey: undefined,
    prepared: new Map([["m", prepared!]]),
  };
  return { routes, choose: () => choosePools(routes, chosenFor) };
}

describe("where no pool may be tried", () => {
  it("the request is refused, though some could be when it came", () => {
    const { routes, choose } = choosing();
    expect(openRoutes(routes)).toMatchObject({ ok: true });
    drain(...NAMES);
    expect(choose()).toMatchObject({
      ok: false,
      error: { code: "pool_unavailable", message: expect.stringContaining("drained") as string },
    });
    drain("choose-a");
    expect(choose()).toMatchObject({
      ok: true,
      value: { routes: [{ pool: { config: { name: "choose-b" } } }] },
    });
  });

  it("the refusal says that filters leave all out, where they do", () => {
    const type = "label-selector-filter";
    const { choose } = choosing({
      scheduler: {
        plugins: [{ type, parameters: { matchLabels: { zone: "none" } } }],
        schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: type }] }],
      },
    });
    const refused = {
      ok: false,
      error: { code: "pool_unavailable", message: expect.stringContaining("filters") as string },
    };
    expect(choose()).toMatchObject(refused);
    drain("choose-a");
    expect(choose()).toMatchObject(refused);
    expect(isolatePools.states()).toContainEqual({ pool: "choose-a", state: "drained" });
  });
});
