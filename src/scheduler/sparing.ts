// Whether a pick may spare endpoints for the sake of other isolates or objects; see PickInput.
//
// Among endpoints without load it makes no difference which one gets a request, as long as that is all that is asked
// for. Where a scorer looks at sessions, labels or adapters, the one that is left out may be the one that was meant.

import type { SchedulerConfig } from "./config/scheduler-config.ts";
import { resolveProfile } from "./config/resolve.ts";
import type { EndpointColumns } from "./model/endpoint-columns.ts";
import { pluginOf } from "./registry.ts";

/** Whether all scorers of all profiles go by loads, speeds and prefixes alone. */
export function ranksByLoad(config: SchedulerConfig): boolean {
  return config.schedulingProfiles.every(({ name }) =>
    resolveProfile(config, name).scorers.every(
      ({ plugin }) => pluginOf(plugin.type).ranksByLoad === true,
    ),
  );
}

/** Whether all filters of all profiles keep every endpoint that can be sent requests, but for those that have just come. */
export function keepsUsable(config: SchedulerConfig): boolean {
  return config.schedulingProfiles.every(({ name }) =>
    resolveProfile(config, name).filters.every(({ type }) => pluginOf(type).keepsUsable === true),
  );
}

/** Whether the model is a LoRA adapter that some endpoint has. O(endpoints). */
export function isForAdapter({ adapters, slotCount }: EndpointColumns, model: string): boolean {
  for (let slot = 0; slot < slotCount; slot++)
    if (adapters.stateOf(slot, model) !== "absent") return true;
  return false;
}
