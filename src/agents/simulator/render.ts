// What vLLM's render endpoints answer: the prompt as the engine would see it, and nothing computed.
//
// Source: vLLM docs/serving/online_serving/renderer.md.

import type { PromptItem } from "./model/prompt.ts";
import type { GenerationRequest } from "./request-schema.ts";

/** Stands for the tensors of an item, which a router has no use for. */
const KWARGS_DATA = Buffer.from("simulated").toString("base64");

/** A chat is one object; completions are a list, one for each prompt. */
export function encodeRendering(request: GenerationRequest): unknown {
  const rendered = request.prompts.map(({ tokens, items }) => ({
    token_ids: tokens.map(({ id }) => id),
    ...(items.length === 0 ? {} : { features: encodeFeatures(items, request.areKwargsReturned) }),
  }));
  return request.api === "chat" ? rendered[0] : rendered;
}

function encodeFeatures(items: readonly PromptItem[], hasKwargs: boolean) {
  const groups = Map.groupBy(items, ({ modality }) => modality);
  const byModality = <T>(encode: (item: PromptItem) => T) =>
    Object.fromEntries(Array.from(groups, ([modality, of]) => [modality, of.map(encode)]));
  return {
    mm_hashes: byModality(({ identifier }) => identifier),
    mm_placeholders: byModality(({ offset, length }) => ({ offset, length })),
    ...(hasKwargs ? { kwargs_data: byModality(() => KWARGS_DATA) } : {}),
  };
}
