import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBase64 } from "../../../src/scheduler/support/base64.ts";

describe("encodeBase64", () => {
  it.for([
    { text: "", want: "" },
    { text: "a", want: "YQ==" },
    { text: "ab", want: "YWI=" },
    { text: "default/vllm-0", want: "ZGVmYXVsdC92bGxtLTA=" },
    { text: "é€😀", want: "w6nigqzwn5iA" },
  ])("encodes $text", ({ text, want }) => {
    expect(encodeBase64(text)).toBe(want);
  });

  it("is what Node makes of the same text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(encodeBase64(text)).toBe(Buffer.from(text.toWellFormed()).toString("base64"));
      }),
    );
    expect(encodeBase64("\ud800")).toBe(Buffer.from("\ufffd").toString("base64"));
  });
});
