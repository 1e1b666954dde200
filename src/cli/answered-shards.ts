// Which of a pool's objects an answer of the admin API is of, where the pool has several.

import { z } from "zod";

export const shardsSchema = z.object({ count: z.number(), missing: z.array(z.number()) });
export type AnsweredShards = z.output<typeof shardsSchema>;

/** e.g. `of 3 of 4 objects: 2 did not answer`, by their numbers. */
export function describeShards({ count, missing }: AnsweredShards): string {
  if (missing.length === 0) return `of all ${count} objects`;
  return `of ${count - missing.length} of ${count} objects: ${missing.join(", ")} did not answer`;
}
