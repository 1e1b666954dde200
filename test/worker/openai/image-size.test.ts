import { describe, expect, it } from "vitest";
import { readImageSize } from "../../../src/worker/openai/image-size.ts";

const dataUrl = (type: string, bytes: readonly number[]) =>
  `data:image/${type};base64,${Buffer.from(bytes).toString("base64")}`;

const hex = (text: string) => [...Buffer.from(text, "hex")];
const u16 = (value: number) => [value >> 8, value & 255];
const png = (width: number, height: number) => [
  ...hex("89504e470d0a1a0a0000000d494844520000"),
  ...u16(width),
  ...hex("0000"),
  ...u16(height),
  ...hex("0802000000"),
];
const segment = (marker: number, size: number) => [
  0xff,
  marker,
  ...u16(size + 2),
  ...Array<number>(size).fill(0xff),
];
const jpeg = (width: number, height: number, ...before: number[][]) => [
  ...hex("ffd8"),
  ...before.flat(),
  ...hex("ffc2001108"),
  ...u16(height),
  ...u16(width),
  3,
];
const gif = (width: number, height: number) => [
  ...Buffer.from("GIF89a"),
  ...u16(width).toReversed(),
  ...u16(height).toReversed(),
];

describe("readImageSize", () => {
  it.for([
    { name: "PNG", url: dataUrl("png", png(1024, 768)) },
    { name: "GIF", url: dataUrl("gif", gif(1024, 768)) },
    { name: "JPEG", url: dataUrl("jpeg", jpeg(1024, 768)) },
    { name: "a JPEG with tables first", url: dataUrl("jpeg", jpeg(1024, 768, segment(0xc4, 300))) },
    {
      name: "a JPEG with a long profile first",
      url: dataUrl("jpeg", jpeg(1024, 768, segment(0xe1, 60_000), [0xff], segment(0xe2, 5))),
    },
    { name: "one that is called otherwise", url: dataUrl("webp", png(1024, 768)) },
    { name: "an upper-case prefix", url: dataUrl("png", png(1024, 768)).replace("data:", "DATA:") },
  ])("reads $name", ({ url }) => {
    expect(readImageSize(url)).toEqual({ width: 1024, height: 768 });
  });

  it.for([
    { name: "a URL", url: "https://example.com/a.png" },
    { name: "other data", url: dataUrl("png", png(1, 1)).replace("image/png", "text/plain") },
    { name: "no base64", url: "data:image/png;base64,$$$$" },
    { name: "nothing", url: "data:image/png;base64," },
    { name: "a PNG cut off", url: dataUrl("png", png(5, 5).slice(0, 20)) },
    { name: "a PNG of no size", url: dataUrl("png", png(0, 5)) },
    { name: "a GIF cut off", url: dataUrl("gif", gif(5, 5).slice(0, 8)) },
    { name: "a JPEG cut off", url: dataUrl("jpeg", jpeg(5, 5).slice(0, 6)) },
    {
      name: "a JPEG that is none",
      url: dataUrl("jpeg", [0xff, 0xd8, ...Array<number>(40).fill(1)]),
    },
    {
      name: "a JPEG whose size is too far in",
      url: dataUrl("jpeg", jpeg(5, 5, segment(0xe1, 60_000), segment(0xe1, 60_000))),
    },
  ])("finds nothing in $name", ({ url }) => {
    expect(readImageSize(url)).toBeUndefined();
  });
});
