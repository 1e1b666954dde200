// Which configurations isolates can decide with.

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { isLocalCapable, objectPluginsOf } from "../../../src/scheduler/edge/local-capable.ts";
import { DEFAULT_CONFIG } from "../../../src/scheduler/config/default-config.ts";

function withPlugins(...plugins: object[]) {
  return schedulerConfigSchema.parse({
    apiVersion: "llm-d.ai/v1alpha1",
    kind: "EndpointPickerConfig",
    plugins: [...DEFAULT_CONFIG.plugins, ...plugins],
    schedulingProfiles: DEFAULT_CONFIG.schedulingProfiles,
  });
}

function withScorer(type: string, parameters: object = {}) {
  const [profile] = DEFAULT_CONFIG.schedulingProfiles;
  return schedulerConfigSchema.parse({
    apiVersion: "llm-d.ai/v1alpha1",
    kind: "EndpointPickerConfig",
    plugins: [...DEFAULT_CONFIG.plugins, { type, parameters }],
    schedulingProfiles: [{ ...profile!, plugins: [...profile!.plugins, { pluginRef: type }] }],
  });
}

describe("isLocalCapable", () => {
  it("says yes of the default configuration", () => {
    expect(isLocalCapable(withPlugins())).toBe(true);
  });

  it("names what remembers the pool's requests, and why it stays in the object", () => {
    const config = withScorer("no-hit-lru-scorer");
    expect(isLocalCapable(config)).toBe(false);
    expect(objectPluginsOf(config)).toEqual([
      { name: "no-hit-lru-scorer", why: "remembers where the pool's cold prompts went" },
    ]);
  });

  it("goes by who remembers a session", () => {
    expect(isLocalCapable(withScorer("session-affinity-scorer"))).toBe(true);
    const byPool = withScorer("session-affinity-scorer", { strategy: "session_id" });
    expect(objectPluginsOf(byPool).map(({ name }) => name)).toEqual(["session-affinity-scorer"]);
  });

  it("says no of an index that is not the pool's", () => {
    const own = { name: "small", type: "approx-prefix-cache-producer" };
    const parameters = { autoTune: false, lruCapacityPerServer: 100 };
    const config = withPlugins({ type: own.type }, { ...own, parameters });
    expect(objectPluginsOf(config)).toEqual([{ name: "small", why: "keeps an index of its own" }]);
  });
});
