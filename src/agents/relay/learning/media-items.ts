// The pictures, sounds and films of a prompt, as an engine's render endpoint tells them.
//
//   tokens   … text │ marker │ placeholder × length │ marker │ text …
//                            └ offset
//
// Source: vLLM docs/serving/online_serving/renderer.md.

import { z } from "zod";
import type { KvExtraKey } from "../../../scheduler/kv/residency/kv-event.ts";
import { KV_EVENT_LIMITS } from "../../../scheduler/kv/residency/kv-event.ts";

/** Of one prompt. */
export const MEDIA_ITEMS_MAX = 1_024;

/** Something in a prompt that is not text. */
export interface MediaItem {
  /** The engine's name of its content, which goes into block hashes. */
  readonly identifier: string;
  /** Its first placeholder. */
  readonly offset: number;
  /** Placeholders. */
  readonly length: number;
}

/** By modality; places belong to hashes in their order. */
export const featuresSchema = z
  .object({
    mm_hashes: z.record(z.string(), z.array(z.string().max(KV_EVENT_LIMITS.textCharsMax))),
    mm_placeholders: z.record(
      z.string(),
      z.array(z.object({ offset: z.int().min(0), length: z.int().min(0) })),
    ),
  })
  .nullish();

/**
 * In the order in which they stand. Undefined unless each hash has its place, within a prompt of so many
 * tokens and behind the one before it.
 */
export function readItems(
  features: z.output<typeof featuresSchema>,
  tokenCount: number,
): readonly MediaItem[] | undefined {
  const items: MediaItem[] = [];
  for (const [modality, hashes] of Object.entries(features?.mm_hashes ?? {})) {
    const places = features?.mm_placeholders[modality] ?? [];
    if (places.length !== hashes.length) return undefined;
    for (const [i, identifier] of hashes.entries()) items.push({ identifier, ...places[i]! });
  }
  if (items.length > MEDIA_ITEMS_MAX) return undefined;
  items.sort((a, b) => a.offset - b.offset);
  const ends = items.map(({ offset, length }) => offset + length);
  const isOrdered = items.every(({ offset }, i) => offset >= (ends[i - 1] ?? 0));
  return isOrdered && (ends.at(-1) ?? 0) <= tokenCount ? items : undefined;
}

/** What goes into block keys besides tokens, by blocks of so many tokens. */
export function extraKeysOf(
  cacheSalt: string | null,
  items: readonly MediaItem[],
  blockSize: number,
): readonly (readonly KvExtraKey[])[] {
  const blocks: KvExtraKey[][] = [];
  if (cacheSalt !== null) blocks[0] = [{ kind: "text", text: cacheSalt }];
  for (const { identifier, offset } of items) {
    const block = Math.floor(offset / blockSize);
    const extras = (blocks[block] ??= []);
    extras.push({ kind: "media", identifier, offset: offset - block * blockSize });
  }
  return Array.from(blocks, (extras) => extras ?? []);
}
