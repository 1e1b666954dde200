import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findJsonFault } from "../../../src/worker/openai/json-fault.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("findJsonFault", () => {
  it("finds a fault exactly where JSON.parse does", () => {
    // Valid texts, and the same with one character replaced, inserted or taken out.
    const edits = fc.tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom(
        "",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "u",
        "0",
        "-",
        ".",
        "e",
        " ",
        "\n",
      ),
      fc.boolean(),
    );
    fc.assert(
      fc.property(edits, ([json, position, char, isReplaced]) => {
        const at = position % (json.length + 1);
        const text = json.slice(0, at) + char + json.slice(isReplaced ? at + 1 : at);
        expect(findJsonFault(text) === undefined).toBe(isJson(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it.for([
    { text: "", line: 1, column: 1 },
    { text: "{", line: 1, column: 2 },
    { text: '{"a" 1}', line: 1, column: 6 },
    { text: "[1,]", line: 1, column: 4 },
    { text: "[01]", line: 1, column: 3 },
    { text: '{\n  "a": tru\n}', line: 2, column: 8 },
    { text: '"a\\x"', line: 1, column: 3 },
    { text: '"\\u12g4"', line: 1, column: 2 },
    { text: '"a\tb"', line: 1, column: 3 },
    { text: "{} {}", line: 1, column: 4 },
    { text: "\ufeff{}", line: 1, column: 1 },
  ])("puts $text at line $line, column $column", ({ text, line, column }) => {
    expect(findJsonFault(text)).toEqual({ line, column });
  });

  it("takes a string and a depth of any size", () => {
    expect(findJsonFault(`"${"x".repeat(8_000_000)}`)).toEqual({ line: 1, column: 8_000_002 });
    expect(findJsonFault("[".repeat(1_000_000))).toEqual({ line: 1, column: 1_000_001 });
  });
});
