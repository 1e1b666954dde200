// What a render endpoint answers: the prompt's tokens, and where media stand among them.
//
//   chat          {token_ids: […], features?: {mm_hashes: {image: [id]}, mm_placeholders: {image: [{offset, length}]}}}
//   completions   a list of these, one for each prompt; the first counts, as with content keys
//
// Source: vLLM docs/serving/online_serving/renderer.md.

import { z } from "zod";
import { KEYED_TOKENS_MAX, type PromptMedia } from "./prompt-keys.ts";
import type { PromptTokens } from "./outcomes.ts";

/** Media of one prompt; engines allow far fewer. */
const MEDIA_MAX = 1_024;
const TOKEN_ID_MAX = 0xffff_ffff;

const count = z.int().min(0).max(0xffff_ffff);
const byModality = <Item extends z.ZodType>(item: Item) =>
  z.record(z.string(), z.array(item).max(MEDIA_MAX));
const featuresSchema = z.object({
  mm_hashes: byModality(z.string().max(1_024)),
  mm_placeholders: byModality(z.object({ offset: count, length: count })),
});

/** Undefined for what is no rendering. */
export function parseRendering(bytes: Uint8Array): PromptTokens | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  const first: unknown = Array.isArray(json) ? json[0] : json;
  if (typeof first !== "object" || first === null) return undefined;
  const { token_ids: ids, features } = first as Record<string, unknown>;
  const tokens = parseTokenIds(ids);
  const media = features === undefined || features === null ? [] : parseFeatures(features);
  if (tokens === undefined || media === undefined) return undefined;
  return { tokens, media, isWhole: true };
}

/** By hand: a schema over each of a hundred thousand numbers takes longer than reading them. */
export function parseTokenIds(ids: unknown): Uint32Array | undefined {
  if (!Array.isArray(ids)) return undefined;
  const tokens = new Uint32Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id: unknown = ids[i];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > TOKEN_ID_MAX) {
      return undefined;
    }
    tokens[i] = id;
  }
  return tokens;
}

/** Undefined where media are told of, and not what or where: their keys would be another prompt's. */
function parseFeatures(features: unknown): PromptMedia[] | undefined {
  const parsed = featuresSchema.safeParse(features);
  if (!parsed.success) return undefined;
  const { mm_hashes: hashes, mm_placeholders: placeholders } = parsed.data;
  const media: PromptMedia[] = [];
  for (const [modality, identifiers] of Object.entries(hashes)) {
    const places = placeholders[modality] ?? [];
    if (places.length !== identifiers.length) return undefined;
    identifiers.forEach((identifier, i) => media.push({ identifier, ...places[i]! }));
  }
  return media
    .filter(({ offset, length }) => length > 0 && offset < KEYED_TOKENS_MAX)
    .toSorted((a, b) => a.offset - b.offset);
}
