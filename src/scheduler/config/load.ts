// Reads an EndpointPickerConfig: checks it, and fills in what it leaves open, so that what comes out
// says everything. Reading that again gives the same.
//
// Source: llm-d-router pkg/epp/config/loader/{configloader,defaults,validation,flowcontrol}.go. It
// stops at the first mistake; here all are told.

import { DEFAULT_CONFIG } from "./default-config.ts";
import { creationOrder } from "./creation-order.ts";
import { meetDataNeeds, producersOf } from "./data-needs.ts";
import { readDataLayer } from "./data-layer-section.ts";
import { API_VERSION, type ConfigDocument, isObject, KIND, readDocument } from "./document.ts";
import { formatFeatureGates, readFeatureGates } from "./feature-gates.ts";
import { Findings, quoted, type SchedulerConfigIssue } from "./findings.ts";
import { readFlowControl } from "./flow-control-section.ts";
import { noteHeaders } from "./header-notes.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { specificationOf } from "../data-layer/of-config.ts";
import { LLM_D_DEFAULT_CONFIG } from "./llm-d-default-config.ts";
import { ofKinds, type PluginEntry, PluginSet } from "./plugin-set.ts";
import { readPlugins } from "./plugins-section.ts";
import { checkOwnIndexes } from "./prefix-indexes.ts";
import { checkProfileNames } from "./profile-names.ts";
import { readProfiles } from "./profiles-section.ts";
import { readRequestHandler } from "./request-handler-section.ts";
import { FLOW_CONTROL_KINDS, type PluginKind } from "../plugin.ts";
import { findPlugin } from "../registry.ts";
import type { PluginSpec, SchedulerConfig } from "./scheduler-config.ts";

export type { SchedulerConfigIssue } from "./findings.ts";

export interface LoadOptions {
  /** Whether plugins of stability `alpha` may be used. */
  readonly allowExperimentalPlugins: boolean;
}

export interface LoadedSchedulerConfig {
  /** undefined where there is a mistake. */
  readonly config: SchedulerConfig | undefined;
  readonly issues: readonly SchedulerConfigIssue[];
  /** What whoever wrote it should know, though it stands. */
  readonly notes: readonly SchedulerConfigIssue[];
}

/** Expected mistakes are values: nothing is thrown for any input. */
export function loadSchedulerConfig(
  input: unknown,
  options: LoadOptions = { allowExperimentalPlugins: false },
): LoadedSchedulerConfig {
  const findings = new Findings();
  const document = readDocument(withDefaults(input), findings);
  const config = document === undefined ? undefined : readSections(document, findings, options);
  const { issues, notes } = findings;
  if (config !== undefined && issues.length === 0) {
    // What only shows once all of it is put together: too many attributes, two readers of one thing.
    for (const problem of specificationOf(config).problems) {
      findings.mistake(["dataLayer"], problem);
    }
  }
  return { config: issues.length === 0 ? config : undefined, issues, notes };
}

/**
 * Nothing at all is our default; a head without a body is llm-d's. What says something of flow control
 * and nothing of scheduling has our default's profile: in llm-d endpoints are chosen at random then.
 */
function withDefaults(input: unknown): unknown {
  if (input === undefined || input === null) return DEFAULT_CONFIG;
  if (!isObject(input)) return input;
  const keys = Object.keys(input);
  if (keys.length === 0) return DEFAULT_CONFIG;
  if (keys.every((key) => key === "apiVersion" || key === "kind"))
    return { ...LLM_D_DEFAULT_CONFIG, ...input };
  const { plugins = [], schedulingProfiles } = input;
  if (schedulingProfiles !== undefined || !Array.isArray(plugins)) return input;
  if (!plugins.every(isOfFlowControl)) return input;
  return { ...DEFAULT_CONFIG, ...input, plugins: [...plugins, ...DEFAULT_CONFIG.plugins] };
}

/** A detector, which can stand in a profile, too, is listed for flow control where nothing else is. */
function isOfFlowControl(plugin: unknown): boolean {
  const type = isObject(plugin) ? plugin["type"] : undefined;
  const definition = typeof type === "string" ? findPlugin(type) : undefined;
  const kinds: readonly PluginKind[] = definition?.kinds ?? [];
  return kinds.some((kind) => FLOW_CONTROL_KINDS.includes(kind));
}

function readSections(
  document: ConfigDocument,
  findings: Findings,
  options: LoadOptions,
): SchedulerConfig | undefined {
  const gates = readFeatureGates(document.featureGates, findings);
  const plugins = new PluginSet(findings);
  readPlugins(document.plugins, plugins, findings, options);
  const schedulingProfiles = readProfiles(document.schedulingProfiles, plugins, findings);
  const flowControl = readFlowControl(
    {
      flowControl: document.flowControl,
      saturationDetector: document.saturationDetector,
      isOn: gates.flowControl,
    },
    plugins,
    findings,
  );
  const requestHandler = readRequestHandler(
    { requestHandler: document.requestHandler, parser: document.parser },
    plugins,
    findings,
  );
  const dataLayer = readDataLayer(document.dataLayer, plugins, findings);
  meetDataNeeds(plugins, findings);
  const inOrder = inCreationOrder(plugins, findings);
  checkOwnIndexes(inOrder, plugins, findings);
  noteHeaders(plugins, findings);
  const names = schedulingProfiles.map(({ name }) => name);
  checkProfileNames(names, plugins, findings);
  return {
    apiVersion: API_VERSION,
    kind: KIND,
    featureGates: formatFeatureGates(gates),
    plugins: inOrder,
    schedulingProfiles,
    dataLayer,
    flowControl,
    requestHandler,
  };
}

/** Every instance, complete but for what there is a mistake in. */
function inCreationOrder(plugins: PluginSet, findings: Findings): PluginSpec[] {
  const { pluginsMax } = SCHEDULER_LIMITS;
  if (plugins.size > pluginsMax)
    findings.mistake(
      ["plugins"],
      `${plugins.size} plugins, with those that are filled in; at most ${pluginsMax} are allowed`,
    );
  const dependencies = new Map<string, readonly string[]>();
  for (const entry of plugins.entries())
    dependencies.set(entry.name, [
      ...readReferences(entry, plugins, findings),
      ...producersOf(entry),
    ]);
  const order = creationOrder(dependencies);
  if (!order.ok) {
    const first = plugins.get(order.loop[0]!)?.index;
    const path = first === undefined ? ["plugins"] : ["plugins", first];
    findings.mistake(path, `dependency loop: ${order.loop.map(quoted).join(" → ")}`);
    return [];
  }
  return order.names.flatMap((name) => {
    const { definition, parameters } = plugins.get(name)!;
    if (definition === undefined || parameters === undefined) return [];
    return [{ name, type: definition.type, parameters }];
  });
}

/** Names in parameters, checked. */
function readReferences(
  { index, name, definition, parameters }: PluginEntry,
  plugins: PluginSet,
  findings: Findings,
): string[] {
  if (parameters === undefined) return [];
  const references = definition?.references?.(parameters) ?? [];
  return references.flatMap((reference) => {
    if (reference.name === "") return [];
    if (index !== undefined)
      plugins.check(
        {
          name: reference.name,
          path: ["plugins", index, "parameters", ...reference.path.split(".")],
          demand: ofKinds(reference.kind),
          subject: `plugin ${quoted(name)}`,
        },
        findings,
      );
    return [reference.name];
  });
}
