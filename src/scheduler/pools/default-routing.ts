// How a pool is chosen where `routing.scheduler` says nothing.

import { loadSchedulerConfig } from "../config/load.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";

/**
 * Whoever may not or cannot be used is left out, then whoever is known worse, and of the rest the one that
 * costs a request the least time is likely to be chosen. Each filter keeps somebody; those that it left
 * out come after, in the order of what was said against them. docs/decisions/042-choosing-a-pool.md.
 */
const DEFAULT_ROUTING = {
  plugins: [
    { type: "pool-state-filter" },
    { type: "pool-model-filter" },
    { type: "pool-slow-start-filter" },
    { type: "pool-failover-tier-filter" },
    { type: "pool-freshness-filter" },
    { type: "pool-saturation-filter" },
    { type: "pool-probe-filter" },
    { type: "pool-sample-filter" },
    { type: "pool-cost-scorer" },
    { type: "pool-spread-picker" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "pool-state-filter" },
        { pluginRef: "pool-model-filter" },
        { pluginRef: "pool-slow-start-filter" },
        { pluginRef: "pool-failover-tier-filter" },
        { pluginRef: "pool-freshness-filter" },
        { pluginRef: "pool-saturation-filter" },
        { pluginRef: "pool-probe-filter" },
        { pluginRef: "pool-sample-filter" },
        { pluginRef: "pool-cost-scorer", weight: 1 },
        { pluginRef: "pool-spread-picker" },
      ],
    },
  ],
};

let loaded: SchedulerConfig | undefined;

/** Complete; the same object each time. */
export function defaultRouting(): SchedulerConfig {
  loaded ??= loadSchedulerConfig(DEFAULT_ROUTING).config;
  if (loaded === undefined) throw new Error("invariant broken: our own routing cannot be read");
  return loaded;
}
