// Whether an isolate can decide with a pool's configuration as the pool's object would.
//
// Nearly all plugins read columns, labels, the request and what caches hold: an isolate's copy has these. So do
// the plugins of split requests: disagg-profile-handler, pd-profile-handler, data-parallel-profile-handler, all
// deciders (predicted-ttft, prefix-based, always) and the filters of roles decide alike on a copy.
//
// What is left are plugins that learn from every request of the pool; their definitions say so (`needsObject`).
// Flow control is the object's alone, but it is no reason: where requests wait, the object is asked anyway.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import {
  type ApproximateParams,
  capacityRuleOf,
  isApproximate,
  isSameRule,
  ruleOf,
} from "../plugins/data-producer/approx-prefix-cache-producer.ts";
import { pluginOf } from "../registry.ts";

/** A plugin that keeps a pool's decisions in its object. */
export interface ObjectPlugin {
  readonly name: string;
  /** The end of a sentence that begins with the name. */
  readonly why: string;
}

/** The plugins for which the object is asked; none where isolates can decide. */
export function objectPluginsOf(config: Pick<SchedulerConfig, "plugins">): ObjectPlugin[] {
  const poolRule = capacityRuleOf(config);
  return config.plugins.flatMap(({ name, type, parameters }) => {
    const hasOwnIndex =
      isApproximate(type) && !isSameRule(ruleOf(parameters as ApproximateParams), poolRule);
    const why = hasOwnIndex
      ? "keeps an index of its own"
      : pluginOf(type).needsObject?.(parameters);
    return why === undefined ? [] : [{ name, why }];
  });
}

/** Whether isolates can decide. */
export function isLocalCapable(config: Pick<SchedulerConfig, "plugins">): boolean {
  return objectPluginsOf(config).length === 0;
}
