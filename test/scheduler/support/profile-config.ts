// Configurations of one profile, from what a test is about.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";

export interface PluginFacts {
  readonly type: string;
  readonly params?: object;
  readonly weight?: number;
}

/** What is left out is as in llm-d's optimized baseline, behind our filters. */
export interface ProfileFacts {
  readonly name?: string;
  readonly filters?: readonly PluginFacts[];
  readonly scorers?: readonly PluginFacts[];
  readonly picker?: PluginFacts;
}

const DEFAULTS = {
  filters: [{ type: "ejection-filter" }, { type: "metrics-freshness-filter" }],
  scorers: [
    { type: "queue-scorer", weight: 2 },
    { type: "kv-cache-utilization-scorer", weight: 2 },
    { type: "prefix-cache-scorer", weight: 3 },
    { type: "no-hit-lru-scorer", weight: 2 },
  ],
  picker: { type: "max-score-picker", params: { maxNumOfEndpoints: 4 } },
} as const satisfies ProfileFacts;

/** As a person would write it; see profileConfig for the checked form. */
export function profileDocument(facts: ProfileFacts) {
  const { name, filters, scorers, picker } = { ...DEFAULTS, ...facts };
  const plugins: readonly PluginFacts[] = [...filters, ...scorers, picker];
  return {
    plugins: plugins.map(({ type, params }) => ({ type, parameters: params ?? {} })),
    schedulingProfiles: [
      {
        name: name ?? "default",
        plugins: plugins.map(({ type, weight }) => ({
          pluginRef: type,
          ...(weight === undefined ? {} : { weight }),
        })),
      },
    ],
  };
}

export function profileConfig(facts: ProfileFacts = {}): SchedulerConfig {
  return schedulerConfigSchema.parse(profileDocument(facts));
}
