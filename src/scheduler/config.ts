// A pool's scheduling configuration. `{}` stands for the default profile: llm-d's optimized
// baseline (queue 2, KV cache utilization 2, prefix cache 3, no-hit LRU 2) behind filters of ours: ejected
// endpoints, then those without a fresh sample, are left out while others are there.

import { z } from "zod";
import { filterRefSchema, pickerRefSchema, scorerRefSchema } from "./registry.ts";

export const SCHEDULER_LIMITS = {
  filtersMax: 16,
  scorersMax: 16,
} as const;

/** Endpoints our default profile returns, for the relay to walk; llm-d's own default is 1. */
const DEFAULT_DESTINATIONS = 4;

function withoutDuplicates(refs: readonly { readonly type: string }[]): boolean {
  return new Set(refs.map((ref) => ref.type)).size === refs.length;
}

export const schedulingProfileSchema = z.strictObject({
  name: z.string().min(1).max(63).default("default"),
  filters: z
    .array(filterRefSchema)
    .max(SCHEDULER_LIMITS.filtersMax)
    .refine(withoutDuplicates, "a filter is listed twice")
    .prefault([{ type: "ejection-filter" }, { type: "metrics-freshness-filter" }]),
  scorers: z
    .array(scorerRefSchema)
    .max(SCHEDULER_LIMITS.scorersMax)
    .refine(withoutDuplicates, "a scorer is listed twice")
    .prefault([
      { type: "queue-scorer", weight: 2 },
      { type: "kv-cache-utilization-scorer", weight: 2 },
      { type: "prefix-cache-scorer", weight: 3 },
      { type: "no-hit-lru-scorer", weight: 2 },
    ]),
  picker: pickerRefSchema.prefault({
    type: "max-score-picker",
    params: { maxNumOfEndpoints: DEFAULT_DESTINATIONS },
  }),
});
export type SchedulingProfileConfig = z.output<typeof schedulingProfileSchema>;

export const schedulerConfigSchema = z.strictObject({
  /** One profile for now: choosing among several needs a profile handler. */
  schedulingProfiles: z
    .array(schedulingProfileSchema)
    .length(1, "exactly one scheduling profile")
    .prefault([{}]),
});
export type SchedulerConfig = z.output<typeof schedulerConfigSchema>;
