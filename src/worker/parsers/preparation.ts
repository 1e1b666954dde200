// A parsed request prepared for the models that the pools to try know it by: usually one, and never
// prepared twice in a row for the same.
//
// A request may wait for long in a pool's queue, and many do at once. So the parsed body, and the text of
// the prompt in it, is let go when the request is prepared; of the body only the bytes stay. Where another
// pool has another model they are parsed once more.

import { assert } from "../../scheduler/support/assert.ts";
import type { BodyTenant, ParsedRequest, Parser, ParserInput, Prepared } from "./parser.ts";

/** The request for engines that are asked for `model`. */
export type Preparation = (model: string) => Promise<Prepared>;

export interface ParsedFrom {
  readonly parser: Pick<Parser, "parse">;
  readonly input: ParserInput;
  readonly tenant: BodyTenant;
  /** What the pools' engines are asked for, in the order to try them; at least one. */
  readonly models: readonly string[];
}

/** Prepares the request for the first of the models. The result does not hold `parsed`. */
export async function prepareFor(parsed: ParsedRequest, from: ParsedFrom): Promise<Preparation> {
  return preparationOf(await parsed.prepare(from.models[0]!, from.tenant), from);
}

/** Prepares it for each of the models, to choose among pools by what their caches hold. */
export async function prepareEach(
  parsed: ParsedRequest,
  models: readonly string[],
  tenant: BodyTenant,
): Promise<ReadonlyMap<string, Prepared>> {
  const prepared = new Map<string, Prepared>();
  for (const model of models) prepared.set(model, await parsed.prepare(model, tenant));
  return prepared;
}

/** Of a request that has been prepared for the first of the models. */
export function preparationOf(first: Prepared, from: ParsedFrom): Preparation {
  return from.models.every((model) => model === first.model)
    ? preparedOnly(first)
    : preparedFirst(first, from);
}

// Two functions: closures of one would share all that either of them holds.

function preparedOnly(first: Prepared): Preparation {
  return () => Promise.resolve(first);
}

function preparedFirst(first: Prepared, from: ParsedFrom): Preparation {
  let last = first;
  return async (model) => {
    if (model !== last.model) last = await prepareAgain(model, from);
    return last;
  };
}

function prepareAgain(model: string, { parser, input, tenant }: ParsedFrom): Promise<Prepared> {
  const parsed = parser.parse(input);
  assert(parsed.ok, "the same bytes are parsed the same");
  return parsed.value.prepare(model, tenant);
}
