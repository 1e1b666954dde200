// A configuration by what it is used for: which plugins a profile runs as what.

import { pluginOf } from "../registry.ts";
import type { PluginKind } from "../plugin.ts";
import type { PluginSpec, SchedulerConfig } from "./scheduler-config.ts";

export interface ResolvedProfile {
  readonly name: string;
  readonly filters: readonly PluginSpec[];
  readonly scorers: readonly { readonly plugin: PluginSpec; readonly weight: number }[];
  readonly picker: PluginSpec;
}

/** The profile of that name, or the first. */
export function resolveProfile(config: SchedulerConfig, name?: string): ResolvedProfile {
  const profile =
    name === undefined
      ? config.schedulingProfiles[0]!
      : config.schedulingProfiles.find((candidate) => candidate.name === name)!;
  const refs = profile.plugins.map((ref) => ({ ref, plugin: specOf(config, ref.pluginRef) }));
  const ofKind = (kind: PluginKind) => refs.filter(({ plugin }) => isOfKind(plugin, kind));
  return {
    name: profile.name,
    filters: ofKind("filter").map(({ plugin }) => plugin),
    scorers: ofKind("scorer").map(({ ref, plugin }) => ({ plugin, weight: ref.weight ?? 1 })),
    picker: ofKind("picker")[0]!.plugin,
  };
}

/** The plugin instance of that name. */
export function specOf(config: SchedulerConfig, name: string): PluginSpec {
  return config.plugins.find((plugin) => plugin.name === name)!;
}

/** Instances of a kind, in the order they are made. */
export function specsOfKind(config: SchedulerConfig, kind: PluginKind): PluginSpec[] {
  return config.plugins.filter((plugin) => isOfKind(plugin, kind));
}

/** Headers of a request, in lower case, that the configuration's plugins read. */
export function requestHeadersOf(config: SchedulerConfig): string[] {
  const names = config.plugins.flatMap(
    ({ type, parameters }) => pluginOf(type).requestHeaders?.(parameters) ?? [],
  );
  return [...new Set(names)];
}

/** Types of the parsers that read a pool's bodies, in order. */
export function parserTypesOf(config: SchedulerConfig): string[] {
  return config.requestHandler.parsers.map(({ pluginRef }) => specOf(config, pluginRef).type);
}

function isOfKind(plugin: PluginSpec, kind: PluginKind): boolean {
  return pluginOf(plugin.type).kinds.includes(kind);
}
