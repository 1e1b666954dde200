import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BOUNDARY } from "../../../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { createPromptFeed } from "../../../../src/scheduler/kv/canonical/prompt-bytes.ts";

const encoder = new TextEncoder();
const feedPrompt = createPromptFeed((text, bytes) => encoder.encodeInto(text, bytes).written);

/** Everything that was fed, in one. */
function fed(...pieces: string[]): number[] {
  const bytes: number[] = [];
  const sink = { update: (part: Uint8Array) => void bytes.push(...part) };
  for (const piece of pieces) feedPrompt(sink, piece);
  return bytes;
}
const utf8 = (text: string) => [...new TextEncoder().encode(text)];

describe("feedPrompt", () => {
  it("feeds UTF-8, however long or wide the text", () => {
    const text = fc
      .string({ unit: "grapheme", maxLength: 40 })
      .chain((unit) => fc.nat(900).map((times) => unit.repeat(times)));
    fc.assert(
      fc.property(text, (piece) => {
        expect(fed(piece)).toEqual(utf8(piece));
      }),
      { numRuns: 60 },
    );
  });

  it("takes a character that begins with the boundary's unit for a character", () => {
    expect(fed("\u{10000}a")).toEqual(utf8("\u{10000}a"));
  });

  it.for([16_383, 16_384, 16_385])("does not cut a pair at %d units", (units) => {
    const piece = `${"a".repeat(units - 1)}😀${"b".repeat(20_000)}`;
    expect(fed(piece)).toEqual(utf8(piece));
  });

  it("has a byte for a boundary that no text can have", () => {
    expect(fed(`${BOUNDARY}role:`, "user")).toEqual([0xff, ...utf8("role:user")]);
    const widest = String.fromCodePoint(0x10ffff).repeat(20) + "\uffff\ufffd".repeat(20);
    expect(fed(widest)).not.toContain(0xff);
  });
});
