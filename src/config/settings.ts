// The deployment's switches: few, small, changed by hand, in force within seconds on every isolate.
// What describes pools and tenants is configuration (deployment.ts), not a switch.

import { z } from "zod";

/** Name of the one object that keeps them. */
export const SETTINGS_OBJECT_NAME = "settings";

const switches = {
  acceptRequests: z.boolean().describe("Off: inference routes answer 503 while all else works"),
  exposeEndpointHeader: z.boolean().describe("Tell clients which endpoint answered"),
  requestLog: z.enum(["all", "errors", "off"]).describe("Which requests get a log line"),
};

export const settingsSchema = z.object({
  acceptRequests: switches.acceptRequests.default(true),
  exposeEndpointHeader: switches.exposeEndpointHeader.default(true),
  requestLog: switches.requestLog.default("errors"),
});
export type Settings = z.output<typeof settingsSchema>;

/** A change of some switches. Unknown keys are mistakes. */
export const settingsPatchSchema = z.strictObject({
  acceptRequests: switches.acceptRequests.optional(),
  exposeEndpointHeader: switches.exposeEndpointHeader.optional(),
  requestLog: switches.requestLog.optional(),
});
export type SettingsPatch = z.output<typeof settingsPatchSchema>;

/** In force until an administrator changes a switch. */
export const DEFAULT_SETTINGS: Settings = settingsSchema.parse({});
