// What a pool's configuration has collectors read.

import type { DataSourceSpec, SchedulerConfig } from "../config/scheduler-config.ts";
import { specOf, specsOfKind } from "../config/resolve.ts";
import type { PluginSpec } from "../config/scheduler-config.ts";
import { pluginOf } from "../registry.ts";
import {
  type CompiledSpecification,
  compileMetricsSpecification,
  type DataSource,
  ENDPOINT_EVENTS,
  type Extractor,
  type SourceBinding,
} from "./compile.ts";

/** Compiles the `dataLayer` section of a checked configuration. */
export function specificationOf(config: SchedulerConfig): CompiledSpecification {
  const { sources } = config.dataLayer;
  const bindings = sources.map((source) => bindingOf(config, source));
  const bound = new Set(
    sources.flatMap(({ extractors }) => extractors.map((ref) => ref.pluginRef)),
  );
  // Extractors of events find their source themselves, as in llm-d: being configured is enough.
  const events = specsOfKind(config, "extractor")
    .filter(({ name }) => !bound.has(name))
    .map(extractorOf)
    .filter(({ extractor }) => extractor.reads === "events");
  bindings.push({ name: "endpoints", source: ENDPOINT_EVENTS, extractors: events });
  return compileMetricsSpecification(bindings);
}

function bindingOf(
  config: SchedulerConfig,
  { pluginRef, extractors }: DataSourceSpec,
): SourceBinding {
  const specs = extractors.map((ref) => specOf(config, ref.pluginRef));
  return {
    name: pluginRef,
    source: instanceOf<DataSource>(specOf(config, pluginRef)),
    // Data producers may be listed here, too; they are told of endpoints in any case.
    extractors: specs
      .filter(({ type }) => pluginOf(type).kinds.includes("extractor"))
      .map(extractorOf),
  };
}

function extractorOf(spec: PluginSpec): { name: string; extractor: Extractor } {
  return { name: spec.name, extractor: instanceOf<Extractor>(spec) };
}

/** Sources and extractors are made for their declarations only, so they need no other instance. */
function instanceOf<Instance>({ name, type, parameters }: PluginSpec): Instance {
  const wiring = {
    name,
    profiles: [],
    instance: (other: string) => {
      throw new Error(`${name} asks for ${other}`);
    },
  };
  return pluginOf(type).create(parameters, wiring) as Instance;
}
