// Flow control of a pool, from its configuration and the instances that it names.

import { parseDurationMs } from "../config/quantities.ts";
import type {
  FlowControlSpec,
  PriorityBandTemplate,
  SchedulerConfig,
} from "../config/scheduler-config.ts";
import type { PluginInstance, PluginKind } from "../plugin.ts";
import { pluginOf } from "../registry.ts";
import type {
  EvictionFilter,
  EvictionOrder,
  FairnessPolicy,
  OrderingPolicy,
  SaturationDetector,
  UsageLimitPolicy,
} from "./contracts.ts";
import type { QueueLimits } from "./capacity.ts";
import type { FlowControlSettings } from "./flow-controller.ts";
import type { EvictionPolicies } from "./in-flight.ts";
import type { BandSettings } from "./priority-band.ts";

/** What a configuration names is there, and of the kind that is asked for. */
export interface PluginInstances {
  get(name: string): PluginInstance;
}

/** Whether the configuration's gate is on: requests wait. Without it they are let through at once. */
export function isFlowControlOn({ featureGates }: Pick<SchedulerConfig, "featureGates">): boolean {
  return featureGates.includes("flowControl=true");
}

/** `objects`: of the pool. Each has its part of what may wait, rounded up. */
export function flowControlSettingsOf(
  config: SchedulerConfig,
  plugins: PluginInstances,
  objects = 1,
): FlowControlSettings {
  const spec = config.flowControl;
  const band = (template: PriorityBandTemplate): BandSettings => ({
    ...bandSettingsOf(template, spec, plugins),
    limits: limitsOf(template, objects),
  });
  return {
    limits: limitsOf(spec, objects),
    usageLimit: plugins.get(spec.usageLimitPolicyPluginRef) as UsageLimitPolicy,
    bands: new Map(spec.priorityBands.map((each) => [each.priority, band(each)])),
    defaultBand: band(spec.defaultPriorityBand),
    defaultNegativeBand: band(spec.defaultNegativePriorityBand),
    ...(spec.enableEviction ? { eviction: evictionOf(config, plugins) } : {}),
  };
}

export function saturationDetectorOf(
  { flowControl }: SchedulerConfig,
  plugins: PluginInstances,
): SaturationDetector {
  return plugins.get(flowControl.saturationDetector.pluginRef) as SaturationDetector;
}

function bandSettingsOf(
  template: PriorityBandTemplate,
  spec: FlowControlSpec,
  plugins: PluginInstances,
): Omit<BandSettings, "limits"> {
  return {
    ttls: {
      withEndpointsMs: ttlMs(template.defaultRequestTTL ?? spec.defaultRequestTTL),
      withoutEndpointsMs: ttlMs(spec.noEndpointRequestTTL),
    },
    fairness: plugins.get(template.fairnessPolicyRef) as FairnessPolicy,
    ordering: plugins.get(template.orderingPolicyRef) as OrderingPolicy,
  };
}

interface WrittenLimits {
  readonly maxRequests: number;
  readonly maxBytes: number;
  readonly maxTokens?: number;
}

function limitsOf(
  { maxRequests, maxBytes, maxTokens = 0 }: WrittenLimits,
  objects: number,
): QueueLimits {
  const limit = (written: number) => (written === 0 ? Infinity : Math.ceil(written / objects));
  return { requests: limit(maxRequests), bytes: limit(maxBytes), tokens: limit(maxTokens) };
}

/** `0s` is for ever. */
function ttlMs(written: string): number {
  const ms = parseDurationMs(written)!;
  return ms === 0 ? Infinity : ms;
}

/** Those that are listed, else llm-d's. */
function evictionOf(config: SchedulerConfig, plugins: PluginInstances): EvictionPolicies {
  const listed = (kind: PluginKind, type: string) => {
    const found = config.plugins.find((plugin) => pluginOf(plugin.type).kinds.includes(kind));
    if (found !== undefined) return plugins.get(found.name);
    return pluginOf(type).create(
      {},
      { name: type, profiles: [], instance: (name) => plugins.get(name) },
    );
  };
  return {
    filter: listed("eviction-filter", "sheddable-eviction-filter") as EvictionFilter,
    order: listed("eviction-order", "priority-then-time-eviction-order-policy") as EvictionOrder,
  };
}
