// What a pool's configuration comes to. It is made before the configuration is stored, so that one
// which cannot be made is refused and the pool goes on as before.

import { CLUSTER_RESOURCES_DEFAULT } from "../config/deployment.ts";
import { loadSchedulerConfig } from "../scheduler/config/load.ts";
import {
  type CompiledSpecification,
  compileMetricsSpecification,
} from "../scheduler/data-layer/compile.ts";
import { specificationOf } from "../scheduler/data-layer/of-config.ts";
import { EndpointPicker } from "../scheduler/endpoint-picker.ts";
import type { OnPluginFailed } from "../scheduler/plugin-calls.ts";
import type { PoolObjectConfig } from "./contract.ts";
import { fallbackConfig, type StoredConfig } from "./pool-storage.ts";
import { readShard } from "./pool-shard.ts";
import { readUpstreams } from "./upstreams/pool-upstream.ts";

export interface BuiltConfig {
  readonly stored: StoredConfig;
  /** What is read of the pool's endpoints; nothing while it is not configured. */
  readonly compiled: CompiledSpecification;
  /** undefined while it is not configured. */
  readonly picker: EndpointPicker | undefined;
  /** Milliseconds between two reads of an engine: their source may have an interval of its own. */
  readonly scrapeIntervalMs: number;
}

/** Throws what a plugin's constructor throws; `onFailed` is told of what plugins throw later. */
export function buildConfig(stored: StoredConfig, onFailed: OnPluginFailed): BuiltConfig {
  const { config } = stored;
  if (config === null) {
    const compiled = compileMetricsSpecification([]);
    return { stored, compiled, picker: undefined, scrapeIntervalMs: 0 };
  }
  const compiled = specificationOf(config.scheduler);
  const engineIntervalMs = compiled.specification.metrics?.intervalMs ?? config.scrapeIntervalMs;
  const scrapeIntervalMs = upstreamIntervalMs(config) ?? engineIntervalMs;
  const picker = new EndpointPicker(config.scheduler, undefined, onFailed);
  return { stored, compiled, picker, scrapeIntervalMs };
}

/** With bands for the objectives of the pool's cluster, where the configuration takes them. */
export function withPriorities(built: BuiltConfig, priorities: readonly number[]): BuiltConfig {
  const { stored } = built;
  const { config } = stored;
  const allowed = config?.clusterResources ?? CLUSTER_RESOURCES_DEFAULT;
  if (config === null || priorities.length === 0 || !allowed.includes("objectives")) return built;
  const objectivePriorities = [...new Set([...(config.objectivePriorities ?? []), ...priorities])];
  return { ...built, stored: { ...stored, config: { ...config, objectivePriorities } } };
}

/** Undefined where no upstream's load is read. */
function upstreamIntervalMs({ upstreams = [] }: PoolObjectConfig): number | undefined {
  const intervals = upstreams.flatMap(({ metrics }) => metrics?.intervalMs ?? []);
  return intervals.length === 0 ? undefined : Math.max(...intervals);
}

/** What was stored, perhaps by another release: the default where this one cannot make it. */
export function rebuildConfig(stored: StoredConfig, onFailed: OnPluginFailed): BuiltConfig {
  try {
    return buildConfig(stored, onFailed);
  } catch {
    // A plugin's constructor throws on parameters that its schema takes. An object that throws as it
    // starts would never hear the directory's correction.
    return buildConfig(fallbackConfig(stored.config!), onFailed);
  }
}

/**
 * A configuration as this release reads it, with all that it leaves open. Throws where it cannot. A
 * shadow that cannot be read is left out: nothing depends on it.
 */
export function readConfig(config: PoolObjectConfig): PoolObjectConfig {
  const { name, scrapeIntervalMs, shadowScheduler, objectivePriorities, clusterResources } = config;
  const { config: scheduler, issues } = read(config.scheduler);
  if (scheduler === undefined)
    throw new Error(`unreadable: ${issues.map(({ message }) => message).join("; ")}`);
  const shadow = shadowScheduler === undefined ? undefined : read(shadowScheduler).config;
  const known = {
    name,
    scrapeIntervalMs,
    scheduler,
    ...(objectivePriorities === undefined ? {} : { objectivePriorities }),
    ...(clusterResources === undefined ? {} : { clusterResources }),
    ...readUpstreams(config.upstreams),
    ...readShard(config.shard),
  };
  return shadow === undefined ? known : { ...known, shadowScheduler: shadow };
}

function read(written: unknown) {
  return loadSchedulerConfig(written, { allowExperimentalPlugins: true });
}
