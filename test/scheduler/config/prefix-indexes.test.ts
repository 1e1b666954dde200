import { describe, expect, it } from "vitest";
import { formatPath } from "../../../src/config/deployment.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { specOf } from "../../../src/scheduler/config/resolve.ts";
import {
  capacityRuleOf,
  OWN_INDEXES_MAX,
} from "../../../src/scheduler/plugins/data-producer/approx-prefix-cache-producer.ts";

const TYPE = "approx-prefix-cache-producer";

function load(input: unknown) {
  const { config, issues, notes } = loadSchedulerConfig(input);
  const told = (found: typeof notes) =>
    found.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  return { config, issues: told(issues), notes: told(notes) };
}

const small = {
  name: "small",
  type: TYPE,
  parameters: { autoTune: false, lruCapacityPerServer: 9 },
};

describe("the pool's approximate index", () => {
  it("has the capacity of the listed producer, though another is filled in", () => {
    const { config, notes } = load({ plugins: [{ type: "no-hit-lru-scorer" }, small] });
    expect(capacityRuleOf(config!)).toEqual({ followsEngine: false, blocks: 9 });
    expect(specOf(config!, TYPE).parameters).toMatchObject(small.parameters);
    expect(notes).toEqual([
      `plugins[1]: '${TYPE}', which is filled in, has the capacity of 'small'`,
    ]);
    expect(load(config).config).toEqual(config);
  });

  it("has llm-d's capacity where none is listed", () => {
    const { config } = load({ plugins: [{ type: "prefix-cache-scorer" }] });
    expect(capacityRuleOf(config!)).toEqual({ followsEngine: true, blocks: 31_250 });
  });

  it("is one for producers with the same capacity", () => {
    const { config, notes } = load({
      plugins: [{ type: TYPE }, { type: TYPE, name: "shorter", parameters: { autoTune: true } }],
    });
    expect(config).toBeDefined();
    expect(notes).toEqual([]);
  });
});

describe("an index of a producer's own", () => {
  const others = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      name: `own-${i}`,
      type: TYPE,
      parameters: { lruCapacityPerServer: 10 + i },
    }));

  it("is told with what it knows less", () => {
    const { notes } = load({ plugins: [{ type: TYPE }, ...others(1)] });
    expect(notes).toEqual([
      expect.stringMatching(
        /^plugins\[1\]: 'own-0' has another capacity.* learns when an endpoint/,
      ),
    ]);
  });

  it("is bounded in number", () => {
    expect(load({ plugins: [{ type: TYPE }, ...others(OWN_INDEXES_MAX)] }).issues).toEqual([]);
    const { issues } = load({ plugins: [{ type: TYPE }, ...others(OWN_INDEXES_MAX + 1)] });
    expect(issues).toEqual([
      `plugins[${OWN_INDEXES_MAX + 1}]: ${OWN_INDEXES_MAX + 1} producers have another capacity than the pool's index; at most ${OWN_INDEXES_MAX} are allowed`,
    ]);
  });
});
