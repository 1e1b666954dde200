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
import { type Called, type OnPluginFailed, PluginCalls, saltOfName } from "./plugin-calls.ts";
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
  readonly calls: PluginCalls;
  readonly handler: Called<ProfileHandler>;
  readonly producers: readonly Called<DataProducer>[];
  readonly admitters: readonly Called<Admitter>[];
  readonly screeners: readonly Called<Screener>[];
  /** Who learns from picks, and who keeps something of an endpoint. */
  readonly pickListeners: readonly Called<PluginInstance>[];
  readonly removalListeners: readonly Called<PluginInstance>[];
  readonly restartListeners: readonly Called<PluginInstance>[];
  /** Name of the instance that `context.prefix` is read from. */
  readonly prefixProducer: string;
  readonly #byName = new Map<string, Called<PluginInstance>>();
  readonly #kinds = new Map<string, readonly PluginKind[]>();

  constructor(
    config: SchedulerConfig,
    substitution?: PluginSubstitution,
    onFailed: OnPluginFailed = () => {},
  ) {
    this.calls = new PluginCalls(onFailed);
    const profiles = config.schedulingProfiles.map(({ name }) => name);
    const instance = (name: string) => this.get(name);
    const poolRule = capacityRuleOf(config);
    for (const { name, type, parameters } of config.plugins) {
      const definition = pluginOf(type);
      const wiring = { name, profiles, instance, poolRule };
      const created = definition.create(parameters, wiring) as PluginInstance;
      const plugin = substitution?.(name, created, definition.kinds) ?? created;
      this.#byName.set(name, { plugin, name, type, salt: saltOfName(name) });
      this.#kinds.set(name, definition.kinds);
    }
    this.prefixProducer = prefixProducerOf(config);
    this.handler = this.#ofKind<ProfileHandler>("profile-handler")[0]!;
    this.producers = this.#ofKind("data-producer");
    this.admitters = this.#ofKind("admitter");
    this.screeners = this.#ofKind("screener");
    const all = [...this.#byName.values()];
    this.pickListeners = all.filter(({ plugin }) => plugin.onPicked !== undefined);
    this.removalListeners = all.filter(({ plugin }) => plugin.onEndpointRemoved !== undefined);
    this.restartListeners = all.filter(({ plugin }) => plugin.onEndpointRestarted !== undefined);
  }

  /** The instance of that name; a checked configuration names no other. */
  get(name: string): PluginInstance {
    return this.called(name).plugin;
  }

  called<Plugin extends PluginInstance>(name: string): Called<Plugin> {
    const called = this.#byName.get(name);
    if (called === undefined) throw new Error(`plugin ${name} is not there yet`);
    return called as Called<Plugin>;
  }

  find(name: string): PluginInstance | undefined {
    return this.#byName.get(name)?.plugin;
  }

  *all(): IterableIterator<PluginInstance> {
    for (const { plugin } of this.#byName.values()) yield plugin;
  }

  #ofKind<Plugin extends PluginInstance>(kind: PluginKind): Called<Plugin>[] {
    const isOf = ({ name }: Called<unknown>) => this.#kinds.get(name)!.includes(kind);
    return [...this.#byName.values()].filter(isOf) as Called<Plugin>[];
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
