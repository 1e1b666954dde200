import { z } from "zod";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";

const answerSchema = z.object({ data: z.array(z.object({ id: z.string().min(1) })) });

/** The ids in an answer of `/v1/models`, at most modelsPerEndpointMax; undefined if it is none. */
export function parseModelsList(text: string): string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // An error page.
    return undefined;
  }
  const parsed = answerSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const ids = parsed.data.data
    .map(({ id }) => id)
    .filter((id) => id.length <= PROTOCOL_LIMITS.labelCharsMax);
  return [...new Set(ids)].slice(0, PROTOCOL_LIMITS.modelsPerEndpointMax);
}
