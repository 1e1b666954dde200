// Every mistake llm-d's loader knows, under the names of its own test cases, and those that only are
// told here. What is accepted is in effective.test.ts.

import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatPath } from "../../../src/config/deployment.ts";
import { ISSUES_MAX } from "../../../src/scheduler/config/findings.ts";
import { SCHEDULER_LIMITS } from "../../../src/scheduler/config/limits.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";

/** A whole configuration, but for what a row is about. */
const PICKER = `
plugins: [{ name: maxScore, type: max-score-picker }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: maxScore }] }]
`;

function mistakes(input: unknown): string[] {
  const { config, issues } = loadSchedulerConfig(input);
  expect(config === undefined).toBe(issues.length > 0);
  return issues.map(({ path, message }) => `${formatPath(path)}: ${message}`);
}

/** What is wrong, and the beginning of all that is said of it. */
interface Row {
  readonly name: string;
  readonly yaml: string;
  readonly says: readonly string[];
}

function refuses(rows: readonly Row[]): void {
  it.for(rows)("$name", ({ yaml, says }) => {
    const told = mistakes(parse(yaml));
    expect(told.map((line, i) => line.slice(0, says[i]?.length))).toEqual(says);
  });
}

describe("TestLoadRawConfiguration", () => {
  refuses([
    {
      name: "Error - Invalid YAML",
      yaml: "plugins: [testing 1 2 3]",
      says: ["plugins[0]: expected an object; found a string"],
    },
    {
      name: "Error - Unknown Feature Gate",
      yaml: `${PICKER}featureGates: [unknown-gate]`,
      says: ["featureGates[0]: feature gate 'unknown-gate' is unknown or unregistered; known are"],
    },
    {
      name: "Error - Bad Feature Gate",
      yaml: `${PICKER}featureGates: [flowControl=qwerty]`,
      says: [
        "featureGates[0]: 'qwerty' is not a valid value for the feature gate flowControl; expected",
      ],
    },
    {
      name: "removed feature gates",
      yaml: `${PICKER}featureGates: [dataLayer, enableLegacyMetrics=true]`,
      says: [
        "featureGates[0]: feature gate 'dataLayer' is unknown or unregistered: llm-d has removed it",
        "featureGates[1]: feature gate 'enableLegacyMetrics' is unknown or unregistered: llm-d has",
      ],
    },
    {
      name: "unknown fields, with those that were meant",
      yaml: `${PICKER}flowControll: {}\nparsers: []`,
      says: [
        "flowControll: unknown field 'flowControll' (did you mean 'flowControl'?); allowed are",
        "parsers: unknown field 'parsers' (did you mean 'parser'?); allowed are apiVersion, kind",
      ],
    },
    {
      name: "another kind and another version",
      yaml: `${PICKER}apiVersion: llm-d.ai/v1alpha2\nkind: InferencePool`,
      says: [
        "kind: expected EndpointPickerConfig; found 'InferencePool'",
        "apiVersion: expected llm-d.ai/v1alpha1; found 'llm-d.ai/v1alpha2' (did you mean",
      ],
    },
  ]);

  it.for([
    { name: "a list", input: [], says: ": expected an EndpointPickerConfig; found a list" },
    { name: "a text", input: "x", says: ": expected an EndpointPickerConfig; found a string" },
  ])("refuses $name", ({ input, says }) => {
    expect(mistakes(input)).toEqual([says]);
  });
});

describe("TestInstantiateAndConfigure: plugins", () => {
  refuses([
    {
      name: "Error (Instantiation) - Missing Type Field",
      yaml: "plugins: [{ parameters: { a: 1234 } }, { name: x }]",
      says: [
        "plugins[0].type: plugin '' is missing a type",
        "plugins[1].type: plugin 'x' is missing a type",
      ],
    },
    {
      name: "Error (Instantiation) - Unknown Plugin Type",
      yaml: "plugins: [{ name: testx, type: unknown-plugin-type }, { type: quue-scorer }]",
      says: [
        "plugins[0].type: plugin type 'unknown-plugin-type' is not registered; docs/configuration.md",
        "plugins[1].type: plugin type 'quue-scorer' is not registered (did you mean 'queue-scorer'?)",
      ],
    },
    {
      name: "Error (Instantiation) - Invalid JSON Parameters",
      yaml: "plugins: [{ type: prefix-cache-scorer, parameters: { matchLengthWeight: asdf } }]",
      says: ["plugins[0].parameters.matchLengthWeight: expected a number; found a string"],
    },
    {
      name: "out-of-range and unknown parameters",
      yaml: `
plugins:
- type: prefix-cache-scorer
  parameters: { matchLengthWeight: 2, matchLengthScale: 5 }
- type: no-hit-lru-scorer
  parameters: []
`,
      says: [
        "plugins[0].parameters.matchLengthWeight: expected at most 1; found 2",
        "plugins[0].parameters.matchLengthScale: unknown field 'matchLengthScale' (did you mean",
        "plugins[1].parameters: expected an object; found a list",
      ],
    },
    {
      name: "Error (Instantiation) - Duplicate Plugin Name",
      yaml: "plugins: [{ name: test1, type: queue-scorer }, { name: test1, type: queue-scorer }]",
      says: ["plugins[1].name: duplicate plugin name 'test1': plugins[0] has it already"],
    },
    {
      name: "an alpha plugin without the flag",
      yaml: `${PICKER}`.replace(
        "[{ name: maxS",
        "[{ type: session-affinity-scorer }, { name: maxS",
      ),
      says: [
        "plugins[0].type: plugin 'session-affinity-scorer' (type session-affinity-scorer) has Alpha",
      ],
    },
    {
      name: "missing required data producer",
      yaml: `
plugins:
- type: prefix-cache-scorer
  parameters: { prefixMatchInfoProducerName: precise }
- { name: notOne, type: queue-scorer }
- type: no-hit-lru-scorer
  parameters: { prefixMatchInfoProducerName: notOne }
`,
      says: [
        "plugins[0].parameters: missing data producer: 'prefix-cache-scorer' reads prefix-match from 'precise', which is not there; producers of it are 'approx-prefix-cache-producer'",
        "plugins[2].parameters: missing data producer: 'no-hit-lru-scorer' reads prefix-match from 'notOne', which does not produce it",
      ],
    },
  ]);
});

describe("TestInstantiateAndConfigure: scheduling profiles", () => {
  refuses([
    {
      name: "Error (Deep Validation) - Missing Profile Name",
      yaml: "plugins: [{ type: queue-scorer }]\nschedulingProfiles: [{ plugins: [{ pluginRef: queue-scorer }] }]",
      says: ["schedulingProfiles[0].name: schedulingProfiles[0] is missing a name"],
    },
    {
      name: "Error (Deep Validation) - Missing PluginRef in Profile",
      yaml: "schedulingProfiles: [{ name: default, plugins: [{ weight: 10 }] }]",
      says: [
        "schedulingProfiles[0].plugins[0].pluginRef: schedulingProfiles[0].plugins[0] is missing a 'pluginRef'",
      ],
    },
    {
      name: "Error (Deep Validation) - Profile References Undefined Plugin",
      yaml: `
plugins: [{ name: myQueue, type: queue-scorer }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: myQeue }] }]`,
      says: [
        "schedulingProfiles[0].plugins[0].pluginRef: schedulingProfiles[0] references undefined plugin 'myQeue' (did you mean 'myQueue'?); defined are 'myQueue'",
      ],
    },
    {
      name: "Error (Deep Validation) - Duplicate Profile Name",
      yaml: `
plugins: [{ type: header-based-testing-filter }, { type: max-score-picker }]
schedulingProfiles: [{ name: a }, { name: a }]`,
      says: [
        "schedulingProfiles[1].name: schedulingProfiles[1] has duplicate name 'a'",
        "plugins: no profile handler configured, and there are 2 scheduling profiles; list one",
      ],
    },
    {
      name: "Error (Scheduling) - Two Pickers in One Profile",
      yaml: `
plugins: [{ type: max-score-picker }, { name: random, type: max-score-picker }]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: max-score-picker }, { pluginRef: random }] }]`,
      says: [
        "schedulingProfiles[0].plugins: 'random' cannot be the picker: 'max-score-picker' is it already",
      ],
    },
    {
      name: "two pickers and no profile",
      yaml: "plugins: [{ type: max-score-picker }, { name: random, type: max-score-picker }]",
      says: ["schedulingProfiles[0].plugins: 'random' cannot be the picker"],
    },
    {
      name: "Error (Scheduling) - Multiple Profile Handlers",
      yaml: `
plugins: [{ name: one, type: single-profile-handler }, { name: two, type: single-profile-handler }]`,
      says: ["plugins[1]: multiple profile handlers found ('one', 'two'); only one is allowed"],
    },
    {
      name: "Error (Scheduling) - Missing Profile Handler",
      yaml: "schedulingProfiles: [{ name: default }, { name: prof2 }]",
      says: ["plugins: no profile handler configured, and there are 2 scheduling profiles"],
    },
    {
      name: "Error (Scheduling) - Multi-Profile with Single Handler",
      yaml: `
plugins: [{ type: queue-scorer }, { name: handler, type: single-profile-handler }]
schedulingProfiles: [{ name: default }, { name: prof2 }]`,
      says: [
        "plugins[1]: single-profile-handler cannot support multiple scheduling profiles; 2 are listed",
      ],
    },
    {
      name: "the form before plugins had a list of their own",
      yaml: "schedulingProfiles: [{ name: default, filters: [], scorers: [], picker: {} }]",
      says: [
        "schedulingProfiles[0]: filters, scorers and picker of a profile are written otherwise now",
      ],
    },
  ]);
});

describe("TestInstantiateAndConfigure: other sections", () => {
  refuses([
    {
      name: "Error (DataLayer) - Bad Source Reference",
      yaml: `${PICKER}dataLayer: { sources: [{ pluginRef: test-one }, { pluginRef: maxScore }, {}] }`,
      says: [
        "dataLayer.sources[0].pluginRef: data source references undefined plugin 'test-one'",
        "dataLayer.sources[1].pluginRef: plugin 'maxScore' (type max-score-picker) is not a data-source",
        "dataLayer.sources[2].pluginRef: missing; expected a string",
      ],
    },
    {
      name: "Error (DataLayer) - Bad Extractor Reference",
      yaml: `
plugins: [{ type: metrics-data-source }, { type: queue-scorer }]
dataLayer:
  sources:
  - pluginRef: metrics-data-source
    extractors: [test-one, { pluginRef: test-one }, { pluginRef: queue-scorer }]`,
      says: [
        "dataLayer.sources[0].extractors[0]: expected an object; found a string",
        "dataLayer.sources[0].extractors[1].pluginRef: extractor references undefined plugin 'test-one'",
        "dataLayer.sources[0].extractors[2].pluginRef: plugin 'queue-scorer' (type queue-scorer) is not an extractor or data-producer",
      ],
    },
    {
      name: "discovery by what discovers nothing",
      yaml: `${PICKER}dataLayer: { discovery: { pluginRef: maxScore }, peerDiscovery: { pluginRef: x }, crossReplicaSyncerPluginRef: y, crossReplicaSyncInterval: soon }`,
      says: [
        "dataLayer.discovery.pluginRef: plugin 'maxScore' (type max-score-picker) is not an endpoint discovery",
        "dataLayer.peerDiscovery.pluginRef: dataLayer.peerDiscovery references undefined plugin 'x'",
        "dataLayer.crossReplicaSyncerPluginRef: dataLayer references undefined plugin 'y'",
        "dataLayer.crossReplicaSyncInterval: expected a duration that is not negative, e.g. 200ms",
      ],
    },
    {
      name: "Error (FlowControl) - Missing Policy Plugin",
      yaml: `${PICKER}
featureGates: [flowControl]
flowControl:
  usageLimitPolicyPluginRef: no-limit
  priorityBands: [{ priority: 100, orderingPolicyRef: non-existent-policy }]`,
      says: [
        "flowControl.priorityBands[0].orderingPolicyRef: ordering policy references undefined plugin 'non-existent-policy'",
        "flowControl.usageLimitPolicyPluginRef: usage limit policy references undefined plugin 'no-limit'",
      ],
    },
    {
      name: "Error (FlowControl) - Wrong Plugin Type",
      yaml: `${PICKER}
featureGates: [flowControl]
flowControl: { defaultPriorityBand: { orderingPolicyRef: maxScore, fairnessPolicyRef: fcfs-ordering-policy } }`,
      says: [
        "flowControl.defaultPriorityBand.fairnessPolicyRef: plugin 'fcfs-ordering-policy' (type fcfs-ordering-policy) is not a fairness policy; defined are 'weighted-token-fairness'",
        "flowControl.defaultPriorityBand.orderingPolicyRef: plugin 'maxScore' (type max-score-picker) is not an ordering policy; defined are 'fcfs-ordering-policy'",
      ],
    },
    {
      name: "ShouldError_WithNegative*, and other quantities that are none",
      yaml: `${PICKER}
flowControl:
  maxBytes: -1
  maxRequests: many
  defaultRequestTTL: -1s
  noEndpointRequestTTL: 5 minutes
  defaultPriorityBand: { maxBytes: "-1k" }
  defaultNegativePriorityBand: { maxBytes: -5, maxRequests: 10E }
  priorityBands: [{ priority: 1, maxRequests: -1 }, { priority: 1 }, { priority: high }]`,
      says: [
        "flowControl.defaultRequestTTL: defaultRequestTTL must be non-negative",
        "flowControl.defaultPriorityBand.maxBytes: maxBytes must be non-negative; found -1000",
        "flowControl.maxBytes: maxBytes must be non-negative; found -1",
        "flowControl.maxRequests: expected a quantity, e.g. 5000, 1G or 512Mi; found a string",
        "flowControl.noEndpointRequestTTL: expected a duration, e.g. 60s or 1m30s",
        "flowControl.defaultNegativePriorityBand.maxBytes: maxBytes must be non-negative; found -5",
        "flowControl.defaultNegativePriorityBand.maxRequests: maxRequests is too much; at most",
        "flowControl.priorityBands[0].maxRequests: maxRequests must be non-negative; found -1",
        "flowControl.priorityBands[1].priority: duplicate priority 1",
        "flowControl.priorityBands[2].priority: expected a number; found a string",
      ],
    },
    {
      name: "TestValidateSaturationDetector: Invalid PluginRef",
      yaml: `${PICKER}
saturationDetector: { pluginRef: maxScore }`,
      says: [
        "saturationDetector.pluginRef: plugin 'maxScore' (type max-score-picker) is not a saturation detector",
      ],
    },
    {
      name: "an undefined saturation detector",
      yaml: `${PICKER}
flowControl: { saturationDetector: { pluginRef: utilisation-detector } }`,
      says: [
        "flowControl.saturationDetector.pluginRef: saturation detector references undefined plugin 'utilisation-detector'",
      ],
    },
    {
      name: "Error (Parser) - Wrong Plugin Type",
      yaml: `${PICKER}requestHandler: { parsers: [{ pluginRef: maxScore }] }`,
      says: [
        "requestHandler.parsers[0].pluginRef: plugin 'maxScore' (type max-score-picker) is not a parser",
      ],
    },
    {
      name: "Error (Parser) - Wrong Parser Name",
      yaml: `${PICKER}parser: { pluginRef: wrongParser }`,
      says: ["parser.pluginRef: parser references undefined plugin 'wrongParser'"],
    },
  ]);
});

describe("all at once", () => {
  it("tells mistakes of every section, whatever else is wrong", () => {
    const told = mistakes(
      parse(`
featureGates: [x]
plugins: [{ type: nope }, 5]
schedulingProfiles: [{ name: a, plugins: [{ pluginRef: nobody, weight: heavy }] }]
dataLayer: { source: [] }
flowControl: { maxBytes: x }
requestHandler: []
`),
    );
    const sections = told.map((line) => /^\w+/.exec(line)![0]);
    expect(new Set(sections)).toEqual(
      new Set([
        "featureGates",
        "plugins",
        "schedulingProfiles",
        "dataLayer",
        "flowControl",
        "requestHandler",
      ]),
    );
  });

  it("never shows what a parameter holds", () => {
    const secret = "hunter2-hunter2-hunter2";
    const { issues } = loadSchedulerConfig({
      plugins: [
        { type: "prefix-cache-scorer", parameters: { matchLengthWeight: secret } },
        { type: "no-hit-lru-scorer", parameters: { lruSize: [secret], password: secret } },
      ],
      flowControl: { maxBytes: secret, defaultRequestTTL: secret },
    });
    expect(issues).toHaveLength(5);
    expect(JSON.stringify(issues)).not.toContain("hunter2");
  });

  it("tells no more than so many, and how many more there are", () => {
    const plugins = Array.from({ length: SCHEDULER_LIMITS.pluginsMax }, (_, i) => ({
      name: `p${i}`,
      type: "max-score-picker",
      parameters: { a: 1, b: 2 },
    }));
    const told = mistakes({ plugins });
    expect(told).toHaveLength(ISSUES_MAX + 1);
    expect(told.at(-1)).toMatch(/^: and \d+ more mistakes$/);
  });
});

describe("bounds", () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ name: `p${i}`, type: "queue-scorer" }));
  const profiles = [{ name: "default", plugins: [] }];
  const { pluginsMax, scorersMax, depthMax, profilesMax } = SCHEDULER_LIMITS;

  it("counts plugins with those that are filled in", () => {
    const { config } = loadSchedulerConfig({ plugins: many(1), schedulingProfiles: profiles });
    const filledIn = config!.plugins.length - 1;
    expect(
      mistakes({ plugins: many(pluginsMax - filledIn), schedulingProfiles: profiles }),
    ).toEqual([]);
    expect(
      mistakes({ plugins: many(pluginsMax - filledIn + 1), schedulingProfiles: profiles }),
    ).toEqual([
      `plugins: ${pluginsMax + 1} plugins, with those that are filled in; at most ${pluginsMax} are allowed`,
    ]);
    expect(mistakes({ plugins: many(pluginsMax + 1) })[0]).toBe(
      `plugins: expected at most ${pluginsMax} entries; found ${pluginsMax + 1}`,
    );
  });

  it("counts the scorers of a profile", () => {
    expect(mistakes({ plugins: many(scorersMax) })).toEqual([]);
    expect(mistakes({ plugins: many(scorersMax + 1) })).toEqual([
      `schedulingProfiles[0].plugins: expected at most ${scorersMax} scorers; found ${scorersMax + 1}`,
    ]);
  });

  it("counts profiles", () => {
    const schedulingProfiles = Array.from({ length: profilesMax + 1 }, (_, i) => ({
      name: `${i}`,
    }));
    expect(mistakes({ schedulingProfiles })).toEqual([
      `schedulingProfiles: expected at most ${profilesMax} entries; found ${profilesMax + 1}`,
    ]);
  });

  it("does not look into what is too deep", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(mistakes({ plugins: [{ type: "queue-scorer", parameters: { deep } }] })).toEqual([
      `: nested deeper than ${depthMax} levels`,
    ]);
  });
});
