// What configurations come to: what is filled in, under the names of llm-d's own test cases, and what
// whoever wrote them is told. Mistakes are in load.test.ts.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatPath } from "../../../src/config/deployment.ts";
import { DEFAULT_CONFIG } from "../../../src/scheduler/config/default-config.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { resolveProfile } from "../../../src/scheduler/config/resolve.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { prefixProducerOf } from "../../../src/scheduler/plugins.ts";
import type { PluginKind } from "../../../src/scheduler/plugin.ts";
import { examplesOf } from "../../conformance/params.ts";

const HEAD = { apiVersion: "llm-d.ai/v1alpha1", kind: "EndpointPickerConfig" };
const PICKER = `
plugins: [{ name: maxScore, type: max-score-picker }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: maxScore }] }]
`;

function read(yaml: string): SchedulerConfig {
  return schedulerConfigSchema.parse(parse(yaml));
}

function notes(yaml: string): string[] {
  const loaded = loadSchedulerConfig(parse(yaml), { allowExperimentalPlugins: true });
  expect(loaded.issues).toEqual([]);
  return loaded.notes.map(({ path, message }) => `${formatPath(path)}: ${message}`);
}

/** e.g. `queue-scorer 2`. */
function profileOf(config: SchedulerConfig, profile = 0): string[] {
  return config.schedulingProfiles[profile]!.plugins.map(({ pluginRef, weight }) =>
    weight === undefined ? pluginRef : `${pluginRef} ${weight}`,
  );
}

const typeOf = (config: SchedulerConfig, name: string) =>
  config.plugins.find((plugin) => plugin.name === name)?.type;
const parsersOf = (config: SchedulerConfig) =>
  config.requestHandler.parsers.map(({ pluginRef }) => pluginRef);
const sourcesOf = (config: SchedulerConfig) =>
  config.dataLayer.sources.map(
    ({ pluginRef, extractors }) => `${pluginRef}: ${extractors.map((e) => e.pluginRef).join(" ")}`,
  );

const DEFAULT_SOURCE = "metrics-data-source: core-metrics-extractor";
const DEFAULT_PARSERS = [
  "openai-parser",
  "anthropic-parser",
  "vllmhttp-parser",
  "passthrough-parser",
];

describe("scheduling", () => {
  it("Success - Default configuration: a head and nothing else is llm-d's default", () => {
    const config = schedulerConfigSchema.parse(HEAD);
    expect(profileOf(config)).toEqual([
      "queue-scorer 2",
      "kv-cache-utilization-scorer 2",
      "prefix-cache-scorer 3",
      "max-score-picker",
    ]);
    expect(sourcesOf(config)).toEqual([DEFAULT_SOURCE]);
    expect(typeOf(config, "single-profile-handler")).toBe("single-profile-handler");
  });

  it.for([undefined, null, {}])("%j is our default", (nothing) => {
    expect(schedulerConfigSchema.parse(nothing)).toEqual(
      schedulerConfigSchema.parse(DEFAULT_CONFIG),
    );
  });

  it.for([
    { featureGates: ["flowControl"] },
    { ...HEAD, flowControl: { maxRequests: 10 } },
    { plugins: [{ type: "utilization-detector" }, { type: "round-robin-fairness-policy" }] },
  ])("%j says nothing of scheduling: it has our default's profile", (written) => {
    const config = schedulerConfigSchema.parse(written);
    expect(profileOf(config)).toEqual(profileOf(schedulerConfigSchema.parse(undefined)));
  });

  it("a detector beside another plugin of a profile stands in the profile, as in llm-d", () => {
    const plugins = [{ type: "utilization-detector" }, { type: "queue-scorer" }];
    expect(profileOf(schedulerConfigSchema.parse({ plugins }))).toContain("utilization-detector");
  });

  it("Success - No Profiles: one of everything listed, in the order of the list", () => {
    const config = read(`
plugins:
- { name: second, type: queue-scorer }
- { type: decode-filter }
- { type: openai-parser }
- { name: first, type: prefix-cache-scorer }
- { type: metrics-freshness-filter }`);
    expect(config.schedulingProfiles[0]!.name).toBe("default");
    expect(profileOf(config)).toEqual([
      "second 1",
      "decode-filter",
      "first 1",
      "metrics-freshness-filter",
      "max-score-picker",
    ]);
  });

  it("TestFilterExecutionOrderFromYAML: filters run in the order they are listed", () => {
    const config = read(`
plugins:
- { name: filter-A, type: ejection-filter }
- { name: filter-B, type: metrics-freshness-filter }
- { name: filter-C, type: ejection-filter }
- { name: scorer-X, type: queue-scorer }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: filter-C }, { pluginRef: scorer-X, weight: 10 }, { pluginRef: filter-A }, { pluginRef: filter-B }]`);
    const profile = resolveProfile(config);
    expect(profile.filters.map(({ name }) => name)).toEqual(["filter-C", "filter-A", "filter-B"]);
    expect(profile.scorers).toMatchObject([{ plugin: { name: "scorer-X" }, weight: 10 }]);
  });

  it("Success - Default Scorer Weight, Picker Before Scorer", () => {
    const config = read(`
plugins: [{ type: single-profile-handler }, { type: max-score-picker }, { name: s, type: queue-scorer }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: max-score-picker }, { pluginRef: s }] }]`);
    expect(profileOf(config)).toEqual(["max-score-picker", "s 1"]);
  });

  it("Success - Default Profile Handler Injection", () => {
    expect(typeOf(read(PICKER), "single-profile-handler")).toBe("single-profile-handler");
    const named = read("plugins: [{ name: mine, type: single-profile-handler }]");
    expect(typeOf(named, "mine")).toBe("single-profile-handler");
    expect(typeOf(named, "single-profile-handler")).toBeUndefined();
  });

  it("gives profiles without a picker the first that is listed", () => {
    const config = read(`
plugins: [{ type: queue-scorer }, { name: mine, type: random-picker }, { type: max-score-picker }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: queue-scorer }] }]`);
    expect(profileOf(config)).toEqual(["queue-scorer 1", "mine"]);
  });

  it("names instances after the type as it was written, and knows them by the type of today", () => {
    expect(typeOf(read("plugins: [{ type: tokenizer }]"), "tokenizer")).toBe("token-producer");
  });

  it("TestAllowExperimentalPluginsFlag", () => {
    const document = { plugins: [{ type: "session-affinity-scorer" }] };
    expect(loadSchedulerConfig(document).issues).toHaveLength(1);
    const allowed = loadSchedulerConfig(document, { allowExperimentalPlugins: true });
    expect(allowed.issues).toEqual([]);
    // What was checked once is not asked again.
    expect(schedulerConfigSchema.safeParse(document).success).toBe(true);
  });
});

describe("data producers", () => {
  const producersIn = (config: SchedulerConfig) =>
    config.plugins.map(({ name }) => name).filter((name) => name.endsWith("-producer"));

  it("are filled in for who needs them, and for who was filled in", () => {
    const config = read("plugins: [{ type: latency-scorer }]");
    const names = config.plugins.map(({ name }) => name);
    for (const [earlier, later] of [
      ["approx-prefix-cache-producer", "predicted-latency-producer"],
      ["inflight-load-producer", "predicted-latency-producer"],
      ["predicted-latency-producer", "latency-scorer"],
    ] as const)
      expect(names.indexOf(earlier)).toBeLessThan(names.indexOf(later));
    expect(names).toContain("approx-prefix-cache-producer");
  });

  it("are not filled in where they are listed", () => {
    const config = read(
      "plugins: [{ type: prefix-cache-scorer }, { type: approx-prefix-cache-producer, parameters: { lruCapacityPerServer: 5 } }]",
    );
    expect(producersIn(config)).toEqual(["approx-prefix-cache-producer"]);
    expect(config.plugins[0]).toMatchObject({ parameters: { lruCapacityPerServer: 5 } });
  });

  it("of another name serve who names them; who names nobody gets the default", () => {
    const config = read(`
plugins:
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: mine } }
- { name: mine, type: approx-prefix-cache-producer }`);
    expect(config.plugins.map(({ name }) => name).slice(0, 2)).toEqual([
      "mine",
      "prefix-cache-scorer",
    ]);
    expect(producersIn(config)).toEqual([]);
    const both = read(
      "plugins: [{ type: prefix-cache-scorer }, { name: mine, type: approx-prefix-cache-producer }]",
    );
    expect(producersIn(both)).toEqual(["approx-prefix-cache-producer"]);
  });

  it("tell decisions what is cached, also where no plugin asks", () => {
    expect(producersIn(read(PICKER))).toEqual(["approx-prefix-cache-producer"]);
    const precise = read("plugins: [{ type: precise-prefix-cache-producer }]");
    expect(producersIn(precise)).not.toContain("approx-prefix-cache-producer");
    expect(prefixProducerOf(precise)).toBe("precise-prefix-cache-producer");
    // One that only groups requests at hand does not stand for it.
    const burst = read("plugins: [{ type: burst-prefix-cache-producer }]");
    expect(prefixProducerOf(burst)).toBe("approx-prefix-cache-producer");
  });
});

describe("flow control", () => {
  it("Success - Flow Control Config", () => {
    const { flowControl } = read(`${PICKER}
featureGates: [flowControl]
flowControl:
  maxBytes: "1024"
  maxRequests: 1k
  defaultRequestTTL: 1m
  noEndpointRequestTTL: 5m`);
    expect(flowControl).toMatchObject({
      maxBytes: 1024,
      maxRequests: 1000,
      defaultRequestTTL: "60s",
      noEndpointRequestTTL: "300s",
      usageLimitPolicyPluginRef: "static-usage-limit-policy",
      saturationDetector: { pluginRef: "utilization-detector" },
      enableEviction: false,
    });
  });

  it("Success - Flow Control No-Endpoint TTL Follows Default", () => {
    const { flowControl } = read(`${PICKER}flowControl: { defaultRequestTTL: 0s }`);
    expect(flowControl).toMatchObject({ defaultRequestTTL: "0s", noEndpointRequestTTL: "0s" });
  });

  it("ShouldApplyDefault_WhenBandMaxBytesIsZero, ShouldFallBackToDefaultBand_WhenNegativeBandIsNil", () => {
    const { flowControl } = read(`${PICKER}
flowControl:
  defaultPriorityBand: { maxBytes: 0, maxRequests: 7 }
  priorityBands: [{ priority: -3, maxBytes: 500M }]`);
    const policies = {
      fairnessPolicyRef: "weighted-token-fairness",
      orderingPolicyRef: "fcfs-ordering-policy",
    };
    const band = { maxBytes: 1_000_000_000, maxRequests: 7, ...policies };
    expect(flowControl.defaultPriorityBand).toEqual(band);
    expect(flowControl.defaultNegativePriorityBand).toEqual(band);
    expect(flowControl.priorityBands).toEqual([
      { priority: -3, maxBytes: 500_000_000, maxRequests: 5_000, ...policies },
    ]);
  });

  it("Success - Complex Flow Control Config", () => {
    const { flowControl } = read(`
plugins: [{ name: customFCFS, type: fcfs-ordering-policy }, { name: customFairness, type: global-strict-fairness-policy }]
featureGates: [flowControl]
flowControl: { priorityBands: [{ priority: 100, orderingPolicyRef: customFCFS, fairnessPolicyRef: customFairness }] }`);
    expect(flowControl.priorityBands[0]).toMatchObject({
      priority: 100,
      orderingPolicyRef: "customFCFS",
      fairnessPolicyRef: "customFairness",
    });
  });

  it.for([
    { yaml: "saturationDetector: { pluginRef: mine }", detector: "mine" },
    {
      yaml: "saturationDetector: { pluginRef: mine }\nflowControl: { saturationDetector: { pluginRef: utilization-detector } }",
      detector: "utilization-detector",
    },
    { yaml: "saturationDetector: {}", detector: "utilization-detector" },
    {
      yaml: "flowControl: { saturationDetector: { pluginRef: '' } }",
      detector: "utilization-detector",
    },
  ])("Success - Deprecated Top-level SaturationDetector: $yaml", ({ yaml, detector }) => {
    const plugins =
      "plugins: [{ name: mine, type: concurrency-detector }, { type: max-score-picker }]\n";
    expect(read(`${plugins}${yaml}`).flowControl.saturationDetector.pluginRef).toBe(detector);
  });

  describe("with evictions", () => {
    const EVICTION = ["sheddable-eviction-filter", "priority-then-time-eviction-order-policy"];
    const evictionIn = (yaml: string) =>
      read(yaml).plugins.flatMap(({ name, type }) => (EVICTION.includes(type) ? [name] : []));
    const ON = "featureGates: [flowControl]\nflowControl: { enableEviction: true }";

    it("says who is ended, and what it says needs no flag either", () => {
      expect(evictionIn(`${PICKER}${ON}`)).toEqual(EVICTION);
      const config = read(`${PICKER}${ON}`);
      expect(loadSchedulerConfig(config)).toMatchObject({ config, issues: [] });
    });

    it("has what is listed, under any name", () => {
      const listed = "plugins: [{ name: who, type: sheddable-eviction-filter }]";
      expect(evictionIn(`${listed}\n${ON}`)).toEqual(["who", EVICTION[1]]);
    });

    it.for(["featureGates: [flowControl]", "flowControl: { enableEviction: true }"])(
      "has nothing to say of them with %s alone",
      (yaml) => expect(evictionIn(`${PICKER}${yaml}`)).toEqual([]),
    );
  });

  it("reads feature gates as Go does; the last of a name holds", () => {
    const { featureGates } = read(
      `${PICKER}featureGates: [flowControl=T, "flowControl= 0 ", flowControl]`,
    );
    expect(featureGates).toEqual(["flowControl=true", "haPopulateNonLeaderDatastore=true"]);
  });
});

describe("parsers", () => {
  it.for([
    {
      name: "Config without parser and default parsers are injected",
      yaml: "",
      parsers: DEFAULT_PARSERS,
    },
    {
      name: "Parser Config With Name, Explicit parsers keep their own fallback",
      yaml: "requestHandler: { parsers: [{ pluginRef: openaiParser }, { pluginRef: myFallback }] }",
      parsers: ["openaiParser", "myFallback"],
    },
    {
      name: "Deprecated Top-level Parser, filled in by its type",
      yaml: "parser: { pluginRef: passthrough-parser }",
      parsers: ["passthrough-parser"],
    },
    {
      name: "the new field wins",
      yaml: "parser: { pluginRef: openaiParser }\nrequestHandler: { parsers: [{ pluginRef: vllmgrpc-parser }] }",
      parsers: ["vllmgrpc-parser"],
    },
  ])("Success - $name", ({ yaml, parsers }) => {
    const config = read(`
plugins: [{ name: openaiParser, type: openai-parser }, { name: myFallback, type: passthrough-parser }]
${yaml}`);
    expect(parsersOf(config)).toEqual(parsers);
    for (const name of parsers) expect(typeOf(config, name)).toMatch(/-parser$/);
  });
});

describe("data layer", () => {
  it.for([
    { name: "Enabled by default with no feature gates", yaml: "", sources: [DEFAULT_SOURCE] },
    {
      name: "Empty dataLayer section injects defaults",
      yaml: "dataLayer: {}",
      sources: [DEFAULT_SOURCE],
    },
    {
      name: "injectDefaults: false suppresses injection",
      yaml: "dataLayer: { injectDefaults: false }",
      sources: [],
    },
    {
      name: "Explicit non-metrics source gets defaults injected too",
      yaml: "dataLayer: { sources: [{ pluginRef: models, extractors: [{ pluginRef: models-data-extractor }] }] }",
      sources: ["models: models-data-extractor", DEFAULT_SOURCE],
    },
    {
      name: "a metrics source of another name is one; llm-d would add a second",
      yaml: "dataLayer: { sources: [{ pluginRef: mine }] }",
      sources: ["mine: "],
    },
  ])("Success (DataLayer) - $name", ({ yaml, sources }) => {
    const config = read(`
plugins:
- { name: models, type: models-data-source }
- { type: models-data-extractor }
- { name: mine, type: metrics-data-source }
${yaml}`);
    expect(sourcesOf(config)).toEqual(sources);
  });

  it("lets data producers hear of endpoints, and files name them", () => {
    const config = read(`
plugins:
- { type: endpoint-notification-source }
- { type: mm-embeddings-cache-producer }
- { type: file-discovery, parameters: { path: /etc/endpoints.yaml } }
dataLayer:
  discovery: { pluginRef: file-discovery }
  sources: [{ pluginRef: endpoint-notification-source, extractors: [{ pluginRef: mm-embeddings-cache-producer }] }]`);
    expect(config.dataLayer.discovery).toEqual({ pluginRef: "file-discovery" });
    expect(sourcesOf(config)).toEqual([
      "endpoint-notification-source: mm-embeddings-cache-producer",
      DEFAULT_SOURCE,
    ]);
  });
});

describe("notes", () => {
  it.for([
    { name: "nothing of a plain configuration", yaml: PICKER, says: [] },
    {
      name: "deprecated names",
      yaml: `${PICKER}apiVersion: inference.networking.x-k8s.io/v1alpha1`,
      says: [
        "apiVersion: inference.networking.x-k8s.io/v1alpha1 is deprecated: use llm-d.ai/v1alpha1",
      ],
    },
    {
      name: "deprecated types",
      yaml: "plugins: [{ type: by-label-selector, parameters: { matchLabels: { a: b } } }]",
      says: ["plugins[0].type: by-label-selector is deprecated: use label-selector-filter"],
    },
    {
      name: "deprecated sections",
      yaml: `${PICKER}saturationDetector: {}\nparser: { pluginRef: openai-parser }`,
      says: [
        "saturationDetector: deprecated: use flowControl.saturationDetector",
        "parser: deprecated: use requestHandler.parsers",
      ],
    },
    {
      name: "saturation detector plugin reference is empty",
      yaml: `${PICKER}flowControl: { saturationDetector: { pluginRef: "" } }`,
      says: [
        "flowControl.saturationDetector: saturation detector plugin reference is empty: utilization-detector is used",
      ],
    },
    {
      name: "Ignored - Flow Control Config Present but FeatureGate Disabled",
      yaml: `${PICKER}featureGates: ["flowControl=false"]\nflowControl: { maxBytes: "1024", priorityBands: [{ priority: 1, fairnessPolicyRef: nobody }] }`,
      says: [
        "flowControl: the flowControl feature gate is disabled: its settings are ignored, but for saturationDetector",
        "flowControl.priorityBands[0].fairnessPolicyRef: with the gate on: fairness policy references undefined plugin 'nobody'; defined are 'weighted-token-fairness'",
      ],
    },
    {
      name: "what does nothing in a profile",
      yaml: `
plugins: [{ type: predicted-latency-producer }, { type: decode-filter }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: predicted-latency-producer }, { pluginRef: decode-filter, weight: 2 }] }]`,
      says: [
        "schedulingProfiles[0].plugins[0]: predicted-latency-producer is neither a filter nor a scorer nor a picker: in a profile it does nothing",
        "schedulingProfiles[0].plugins[1].weight: decode-filter is not a scorer: its weight does nothing",
      ],
    },
    {
      name: "a detector that becomes a filter",
      yaml: "plugins: [{ type: concurrency-detector }, { type: queue-scorer }]",
      says: [
        "plugins[0]: no schedulingProfiles are given, so this detector is also a filter of the default one, as in llm-d",
      ],
    },
    {
      name: "parsers that are not built yet",
      yaml: "plugins: [{ type: vllmgrpc-parser }]",
      says: ["plugins[0]: vllmgrpc-parser is not built yet"],
    },
  ])("$name", ({ yaml, says }) => {
    // What plugins say of their own parameters is theirs to test.
    const told = notes(yaml).filter(
      (note) => !/^plugins\[\d+\]: (?!no sched|.*not built)/.test(note),
    );
    expect(
      told.map((line, i) => (says[i] === undefined ? line : line.slice(0, says[i].length))),
    ).toEqual(says);
  });
});

/** Instances of any plugins, with parameters that are known to be right by themselves. */
const KINDS: readonly PluginKind[] = [
  "filter",
  "scorer",
  "picker",
  "data-producer",
  "admitter",
  "screener",
  "decider",
  "request-header",
  "parser",
  "data-source",
  "extractor",
  "fairness-policy",
  "ordering-policy",
  "saturation-detector",
  "usage-limit-policy",
  "eviction-filter",
  "eviction-order",
];
const examples = KINDS.flatMap((kind) => examplesOf(kind)).filter(
  ({ type, params }) =>
    schedulerConfigSchema.safeParse({ plugins: [{ type, parameters: params }] }).success,
);
const documents = fc
  .record({
    plugins: fc.subarray(examples, { maxLength: 12 }),
    weights: fc.array(fc.double({ min: -10, max: 10, noNaN: true }), {
      minLength: 12,
      maxLength: 12,
    }),
    hasProfiles: fc.boolean(),
    gate: fc.constantFrom("flowControl", "flowControl=false"),
  })
  .map(({ plugins, weights, hasProfiles, gate }) => ({
    featureGates: [gate],
    plugins: plugins.map(({ type, params }, i) => ({ name: `p${i}`, type, parameters: params })),
    ...(hasProfiles
      ? {
          schedulingProfiles: [
            {
              name: "x",
              plugins: plugins.map((_, i) => ({ pluginRef: `p${i}`, weight: weights[i] })),
            },
          ],
        }
      : {}),
  }));

describe("whatever is written", () => {
  it("comes to what comes to itself, says all of it, and can be made", () => {
    let readable = 0;
    fc.assert(
      fc.property(documents, (document) => {
        const loaded = loadSchedulerConfig(document, { allowExperimentalPlugins: true });
        if (loaded.config === undefined) return;
        readable += 1;
        expect(schedulerConfigSchema.parse(loaded.config)).toEqual(loaded.config);
        expect(schedulerConfigSchema.parse(JSON.parse(JSON.stringify(loaded.config)))).toEqual(
          loaded.config,
        );
        expect(() => new EndpointPicker(loaded.config!)).not.toThrow();
      }),
      { numRuns: 200 },
    );
    expect(readable).toBeGreaterThan(50);
  });

  it("is never an exception, whatever it is", () => {
    fc.assert(
      fc.property(fc.anything(), (anything) => {
        const { config, issues } = loadSchedulerConfig(anything);
        expect(config === undefined).toBe(issues.length > 0);
      }),
    );
    const sections = fc.record(
      {
        plugins: fc.anything(),
        schedulingProfiles: fc.anything(),
        dataLayer: fc.anything(),
        flowControl: fc.anything(),
        requestHandler: fc.anything(),
        saturationDetector: fc.anything(),
        parser: fc.anything(),
        featureGates: fc.anything(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(sections, (document) => {
        loadSchedulerConfig(document);
      }),
    );
  });
});
