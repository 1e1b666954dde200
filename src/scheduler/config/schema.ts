// The schema of a pool's scheduling configuration, for documents that hold one.

import { z } from "zod";
import { loadSchedulerConfig } from "./load.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";

/**
 * Reads a configuration as a person wrote it, or as this printed it. Nothing at all is our default.
 * Alpha plugins are taken: whoever must refuse them asks loadSchedulerConfig.
 */
export const schedulerConfigSchema = z.unknown().transform((input, context): SchedulerConfig => {
  const { config, issues } = loadSchedulerConfig(input, { allowExperimentalPlugins: true });
  for (const { path, message } of issues)
    context.addIssue({ code: "custom", path: [...path], message });
  return config ?? z.NEVER;
});
