// Plugins that have the name of one which is filled in. What comes of it is a mistake, never a
// configuration that no picker can be built of.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatPath } from "../../../src/config/deployment.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { pluginsOfKind } from "../../../src/scheduler/registry.ts";

const OPTIONS = { allowExperimentalPlugins: true };

function told(input: unknown): string[] {
  const { issues } = loadSchedulerConfig(input, OPTIONS);
  return issues.map(({ path, message }) => `${formatPath(path)}: ${message}`);
}

describe("a plugin with the name of one that is filled in", () => {
  it.for<[string, string]>([
    ["approx-prefix-cache-producer", "of type precise-prefix-cache-producer or approx-prefix"],
    ["single-profile-handler", "a profile-handler: no profile handler configured, and the name"],
    ["max-score-picker", "a picker, and the name"],
    ["openai-parser", "a parser, and the name"],
    ["passthrough-parser", "a parser, and the name"],
    ["metrics-data-source", "a data-source, and the name"],
    ["core-metrics-extractor", "an extractor, and the name"],
    ["fcfs-ordering-policy", "an ordering policy, and the name"],
    ["utilization-detector", "a saturation detector, and the name"],
  ])("is told: %s", ([name, what]) => {
    const issues = told({ plugins: [{ type: "queue-scorer", name }] });
    expect(issues).toEqual([
      expect.stringContaining(
        `plugins[0].name: plugin '${name}' (type queue-scorer) is not ${what}`,
      ),
    ]);
  });

  it("is told where it makes the data that is asked for, but knows nothing of caches", () => {
    const name = "approx-prefix-cache-producer";
    const plugins = [
      { type: "burst-prefix-cache-producer", name },
      { type: "prefix-cache-scorer" },
    ];
    expect(told({ plugins })[0]).toContain(
      `plugins[0].name: plugin '${name}' (type burst-prefix-cache-producer) is not of type`,
    );
  });

  it("is told where a default producer is asked for", () => {
    const plugins = [{ type: "queue-scorer", name: "inflight-load-producer" }];
    expect(told({ plugins: [...plugins, { type: "token-load-scorer" }] })).toEqual([
      expect.stringContaining(
        "plugins[0].name: plugin 'inflight-load-producer' (type queue-scorer)",
      ),
    ]);
  });

  it("is told once where a parser is referred to", () => {
    const plugins = [{ type: "queue-scorer", name: "vllmhttp-parser" }];
    const requestHandler = { parsers: [{ pluginRef: "vllmhttp-parser" }] };
    expect(told({ plugins, requestHandler })).toHaveLength(1);
  });

  it("is taken where it will do", () => {
    const plugins = [{ type: "random-picker", name: "max-score-picker" }];
    expect(told({ plugins })).toEqual([]);
  });
});

describe("a configuration that is accepted", () => {
  /** Types that can be listed without parameters. */
  const types = (["scorer", "filter", "picker", "data-producer", "decider", "parser"] as const)
    .flatMap((kind) => pluginsOfKind(kind))
    .filter(({ params }) => params.safeParse({}).success)
    .map(({ type }) => type);
  const filledIn = [
    "approx-prefix-cache-producer",
    "inflight-load-producer",
    "single-profile-handler",
    "max-score-picker",
    "openai-parser",
    "core-metrics-extractor",
    "metrics-data-source",
  ];

  it("can be built, whatever its plugins are called", () => {
    const seen = { accepted: 0, refused: 0 };
    const plugin = fc.record({
      type: fc.constantFrom(...types),
      name: fc.constantFrom(...filledIn, ...types),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(plugin, { selector: ({ name }) => name, maxLength: 4 }),
        (plugins) => {
          const { config } = loadSchedulerConfig({ plugins }, OPTIONS);
          seen[config === undefined ? "refused" : "accepted"]++;
          const build = () => config === undefined || new EndpointPicker(config);
          expect(build).not.toThrow();
        },
      ),
      { numRuns: 300 },
    );
    expect(seen.accepted).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  });
});
