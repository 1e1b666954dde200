// Where the fields of one event are, whether it was sent as an array or as a map.
//
//   ["BlockStored", hashes, parent, …]                 position says which field it is
//   {"type": "BlockStored", "block_hashes": …, …}      name says it; defaults are left out
//
// Engines append fields with each release: what is further right, or has another name, is passed over.

import { KV_EVENT_LIMITS } from "../../../scheduler/kv/residency/kv-event.ts";
import { MalformedError, type MsgpackCursor } from "./msgpack-cursor.ts";

/** Elements or pairs of one event. Engines of today have at most 15. */
export const FIELDS_MAX = 64;

/** Fields that are read, and their names in the map form. The order is that of `places`. */
const FIELD_NAMES = [
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window",
  "cache_salt",
] as const;
export type FieldName = (typeof FIELD_NAMES)[number];

interface Layout {
  /** Fields behind the tag. */
  readonly fields: readonly FieldName[];
  /** Fields the oldest engine sends. */
  readonly leastCount: number;
}

/** Only the map form has a `cache_salt`. */
const LAYOUTS: Readonly<Record<string, Layout>> = {
  BlockStored: { fields: FIELD_NAMES.slice(0, -1), leastCount: 4 },
  BlockRemoved: { fields: ["block_hashes", "medium", "group_idx"], leastCount: 1 },
};
const INDEXES = new Map<string, number>(FIELD_NAMES.map((name, index) => [name, index]));
const ABSENT = -1;

/** The fields of one event at a time: made once, filled by `locate`. */
export class EventFields {
  readonly #places = new Int32Array(FIELD_NAMES.length);
  #cursor: MsgpackCursor | undefined;

  /** Finds the fields of the event at the cursor, moves behind it and gives its tag. */
  locate(cursor: MsgpackCursor): string {
    this.#cursor = cursor;
    this.#places.fill(ABSENT);
    return cursor.peek() === "map" ? this.#locateNamed(cursor) : this.#locatePositional(cursor);
  }

  /** A cursor at the field's value; undefined if it is absent or nil. */
  find(name: FieldName): MsgpackCursor | undefined {
    const place = this.#places[INDEXES.get(name)!]!;
    if (place === ABSENT) return undefined;
    this.#cursor!.seek(place);
    return this.#cursor!.skipNil() ? undefined : this.#cursor;
  }

  #locatePositional(cursor: MsgpackCursor): string {
    const count = cursor.readArrayLength(FIELDS_MAX);
    if (count === 0) throw new MalformedError("an event has no tag");
    const tag = cursor.readText(KV_EVENT_LIMITS.textCharsMax);
    const layout = Object.hasOwn(LAYOUTS, tag) ? LAYOUTS[tag] : undefined;
    if (layout !== undefined && count - 1 < layout.leastCount) {
      throw new MalformedError(`${tag} has ${count} elements, expected ${layout.leastCount + 1}`);
    }
    for (let i = 0; i < count - 1; i++) {
      const name = layout?.fields[i];
      if (name !== undefined) this.#places[INDEXES.get(name)!] = cursor.position;
      cursor.skip();
    }
    return tag;
  }

  #locateNamed(cursor: MsgpackCursor): string {
    let tag: string | undefined;
    for (let left = cursor.readMapLength(FIELDS_MAX); left > 0; left--) {
      if (cursor.peek() !== "text") {
        cursor.skip();
        cursor.skip();
        continue;
      }
      const name = cursor.readText(KV_EVENT_LIMITS.textCharsMax);
      if (name === "type") {
        tag = cursor.readText(KV_EVENT_LIMITS.textCharsMax);
        continue;
      }
      const index = INDEXES.get(name);
      if (index !== undefined) this.#places[index] = cursor.position;
      cursor.skip();
    }
    if (tag === undefined) throw new MalformedError("an event has no type");
    return tag;
  }
}
