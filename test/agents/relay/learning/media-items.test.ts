import { describe, expect, it } from "vitest";
import {
  extraKeysOf,
  featuresSchema,
  MEDIA_ITEMS_MAX,
  readItems,
} from "../../../../src/agents/relay/learning/media-items.ts";

const read = (features: unknown, tokens = 100) => readItems(featuresSchema.parse(features), tokens);
const features = (
  image: readonly (readonly [string, number, number])[],
  audio: typeof image = [],
) => {
  const of = <T>(encode: (item: (typeof image)[number]) => T) => ({
    image: image.map(encode),
    audio: audio.map(encode),
  });
  return {
    mm_hashes: of(([hash]) => hash),
    mm_placeholders: of(([, offset, length]) => ({ offset, length })),
  };
};

describe("the items of a prompt", () => {
  it("stand in the order of their places, whatever they are", () => {
    expect(
      read(
        features(
          [
            ["a", 40, 10],
            ["b", 5, 10],
          ],
          [["c", 15, 3]],
        ),
      ),
    ).toEqual([
      { identifier: "b", offset: 5, length: 10 },
      { identifier: "c", offset: 15, length: 3 },
      { identifier: "a", offset: 40, length: 10 },
    ]);
    expect(read(null)).toEqual([]);
    expect(read(undefined)).toEqual([]);
  });

  it.for([
    { name: "without a place", of: { mm_hashes: { image: ["a"] }, mm_placeholders: {} } },
    {
      name: "over one another",
      of: features([
        ["a", 5, 10],
        ["b", 14, 10],
      ]),
    },
    { name: "past the prompt's end", of: features([["a", 95, 6]]) },
    {
      name: "too many",
      of: features(Array.from({ length: MEDIA_ITEMS_MAX + 1 }, () => ["a", 0, 0] as const)),
    },
  ])("are not read where they are $name", ({ of }) => {
    expect(read(of)).toBeUndefined();
  });

  it("enter keys at the blocks that they begin in, after the salt", () => {
    const items = [
      { identifier: "a", offset: 2, length: 30 },
      { identifier: "b", offset: 33, length: 3 },
    ];
    expect(extraKeysOf("s", items, 16)).toEqual([
      [
        { kind: "text", text: "s" },
        { kind: "media", identifier: "a", offset: 2 },
      ],
      [],
      [{ kind: "media", identifier: "b", offset: 1 }],
    ]);
    expect(extraKeysOf(null, [], 16)).toEqual([]);
  });
});
