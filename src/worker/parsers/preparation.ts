// A parsed request prepared for the models that the pools to try know it by: usually one, and never
// prepared twice for the same.

import type { BodyTenant, ParsedRequest, Prepared } from "./parser.ts";

/** The request for engines that are asked for `model`. */
export type Preparation = (model: string) => Promise<Prepared>;

/**
 * Prepares the request for the first of `models`; at least one. Where they are all the same the parsed
 * body, and the prompt in it, is let go at once.
 */
export async function prepareFor(
  parsed: ParsedRequest,
  tenant: BodyTenant,
  models: readonly string[],
): Promise<Preparation> {
  const first = await parsed.prepare(models[0]!, tenant);
  return models.every((model) => model === first.model)
    ? preparedOnly(first)
    : preparedFirst(first, parsed, tenant);
}

// Two functions: closures of one would share all that either of them holds.

function preparedOnly(first: Prepared): Preparation {
  return () => Promise.resolve(first);
}

function preparedFirst(first: Prepared, parsed: ParsedRequest, tenant: BodyTenant): Preparation {
  let last = first;
  return async (model) => {
    if (model !== last.model) last = await parsed.prepare(model, tenant);
    return last;
  };
}
