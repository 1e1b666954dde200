// The plugin instances of one pool.

import type { SchedulerConfig } from "./config/scheduler-config.ts";
import type {
  Admitter,
  DataProducer,
  PluginInstance,
  PluginKind,
  ProfileHandler,
  Screener,
} from "./plugin.ts";
import {
  capacityRuleOf,
  poolProducerOf,
} from "./plugins/data-producer/approx-prefix-cache-producer.ts";
import { pluginOf } from "./registry.ts";

/** Puts another instance in the place of one that was just created. A replay does. */
export type PluginSubstitution = (
  name: string,
  plugin: PluginInstance,
  kinds: readonly PluginKind[],
) => PluginInstance;

/** Made in the configuration's order, so that what is referred to is there. */
export class Plugins {
  readonly handler: ProfileHandler;
  readonly producers: readonly DataProducer[];
  readonly admitters: readonly Admitter[];
  readonly screeners: readonly Screener[];
  /** Name of the instance that `context.prefix` is read from. */
  readonly prefixProducer: string;
  readonly #byName = new Map<string, PluginInstance>();
  readonly #kinds = new Map<string, readonly PluginKind[]>();

  constructor(config: SchedulerConfig, substitution?: PluginSubstitution) {
    const profiles = config.schedulingProfiles.map(({ name }) => name);
    const instance = (name: string) => this.get(name);
    const poolRule = capacityRuleOf(config);
    for (const { name, type, parameters } of config.plugins) {
      const definition = pluginOf(type);
      const wiring = { name, profiles, instance, poolRule };
      const created = definition.create(parameters, wiring) as PluginInstance;
      this.#byName.set(name, substitution?.(name, created, definition.kinds) ?? created);
      this.#kinds.set(name, definition.kinds);
    }
    this.prefixProducer = prefixProducerOf(config);
    this.handler = this.#ofKind("profile-handler")[0] as ProfileHandler;
    this.producers = this.#ofKind("data-producer") as DataProducer[];
    this.admitters = this.#ofKind("admitter") as Admitter[];
    this.screeners = this.#ofKind("screener") as Screener[];
  }

  /** The instance of that name; a checked configuration names no other. */
  get(name: string): PluginInstance {
    const plugin = this.#byName.get(name);
    if (plugin === undefined) throw new Error(`plugin ${name} is not there yet`);
    return plugin;
  }

  find(name: string): PluginInstance | undefined {
    return this.#byName.get(name);
  }

  all(): IterableIterator<PluginInstance> {
    return this.#byName.values();
  }

  #ofKind(kind: PluginKind): PluginInstance[] {
    return [...this.#byName]
      .filter(([name]) => this.#kinds.get(name)!.includes(kind))
      .map(([, plugin]) => plugin);
  }
}

/**
 * Who knows what a pool's caches hold, the best first: engines' own events before what is learned from
 * requests that were sent. Other producers of prefix matches say something of the requests at hand.
 */
export const CACHE_PRODUCERS = [
  "precise-prefix-cache-producer",
  "approx-prefix-cache-producer",
] as const;

/** Name of the instance whose match is the pool's best prefix knowledge. */
export function prefixProducerOf(config: SchedulerConfig): string {
  const [precise, approximate] = CACHE_PRODUCERS;
  const exact = config.plugins.find(({ type }) => type === precise);
  const producer = exact ?? poolProducerOf(config);
  if (producer === undefined || (exact === undefined && producer.type !== approximate))
    throw new Error("invariant broken: a configuration without a cache producer");
  return producer.name;
}
