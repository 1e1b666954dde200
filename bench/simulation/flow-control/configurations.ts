// Configurations of a pool with flow control, as a person would write them, over the default profile.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { gated } from "../policies/gated.ts";
import { shipped } from "../policies/shipped.ts";
import type { PolicyDefinition } from "../policy.ts";

interface Choice {
  readonly fairness?: string;
  readonly detector?: { readonly type: string; readonly parameters?: object };
  /** Ceiling of the lowest priority, where some of the pool is held back for higher ones. */
  readonly minCeiling?: number;
}

const OFF = { name: "no flow control", about: "Requests wait in the engines." };
export const GATE_OFF = shipped(OFF);

/** Nobody is turned away, so that waits can be compared: no time to live, and room for all. */
export function flowControlled(name: string, choice: Choice): PolicyDefinition {
  const {
    fairness = "weighted-token-fairness",
    detector = { type: "utilization-detector" },
    minCeiling,
  } = choice;
  const base = schedulerConfigSchema.parse(undefined);
  const added = [
    { type: fairness },
    detector,
    ...(minCeiling === undefined
      ? []
      : [{ type: "priority-holdback-policy", parameters: { minCeiling } }]),
  ];
  const others = base.plugins.filter(({ type }) => added.every((plugin) => plugin.type !== type));
  const band = { maxRequests: 100_000, fairnessPolicyRef: fairness };
  return gated(
    { name, about: "" },
    {
      featureGates: ["flowControl"],
      schedulingProfiles: base.schedulingProfiles,
      plugins: [...others, ...added],
      flowControl: {
        defaultRequestTTL: "0s",
        defaultPriorityBand: band,
        // Ceilings are of bands that are declared.
        priorityBands: [10, 0].map((priority) => ({ priority, ...band })),
        saturationDetector: { pluginRef: detector.type },
        ...(minCeiling === undefined
          ? {}
          : { usageLimitPolicyPluginRef: "priority-holdback-policy" }),
      },
    },
  );
}
