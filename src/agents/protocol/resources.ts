// Payload of a RESOURCES frame: what a pool's cluster says of InferenceObjectives and InferenceModelRewrites.
//
// Items are open, but for their names: what they mean is the object's to judge, one by one, so that one
// which is mistaken does not cost the connection.

import { z } from "zod";
import { PROTOCOL_LIMITS } from "./limits.ts";

const resource = z.looseObject({ name: z.string().min(1).max(PROTOCOL_LIMITS.labelCharsMax) });

/**
 * All resources of a kind that name the pool, in place of what was said before. A kind is absent while the
 * collector does not know: then what was said before stays. Only to an object that said `takesResources`.
 */
export const resourcesSchema = z.strictObject({
  objectives: z.array(resource).max(PROTOCOL_LIMITS.objectivesMax).optional(),
  rewrites: z.array(resource).max(PROTOCOL_LIMITS.rewritesMax).optional(),
});
export type ResourcesPayload = z.output<typeof resourcesSchema>;
