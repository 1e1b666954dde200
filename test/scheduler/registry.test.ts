import { describe, expect, it } from "vitest";
import { DEFAULT_PRODUCERS } from "../../src/scheduler/data/data.ts";
import { findPlugin, PLUGINS, pluginOf, pluginsOfKind } from "../../src/scheduler/registry.ts";

describe("registry", () => {
  it("gives every plugin types of its own, aliases included", () => {
    const types = PLUGINS.flatMap((plugin) => [
      plugin.type,
      ...("aliases" in plugin ? (plugin.aliases as readonly string[]) : []),
    ]);
    expect(new Set(types).size).toBe(types.length);
  });

  it("finds a plugin by its type, and says which is missing", () => {
    expect(pluginOf("queue-scorer")).toBe(PLUGINS.find(({ type }) => type === "queue-scorer"));
    expect(findPlugin("nope")).toBeUndefined();
    expect(() => pluginOf("nope")).toThrow("plugin type nope");
  });

  it("lists plugins by kind", () => {
    expect(pluginsOfKind("picker").map(({ type }) => type)).toContain("max-score-picker");
    expect(pluginsOfKind("picker").map(({ type }) => type)).not.toContain("queue-scorer");
  });

  it.for(Object.entries(DEFAULT_PRODUCERS))("has a default producer of %s", ([key, type]) => {
    expect(pluginOf(type).produces).toContain(key);
  });
});
