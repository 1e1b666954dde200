import { describe, expect, it } from "vitest";
import { parseFileLocation, prefixKeysSchema } from "../../src/config/prefix-keys.ts";

const EDGE = { kind: "tokens", by: "edge", tokenizer: "r2:qwen/tokenizer.json" };

describe("keys of prefixes", () => {
  it("have defaults", () => {
    expect(prefixKeysSchema.parse({ kind: "tokens", by: "render" })).toEqual({
      kind: "tokens",
      by: "render",
      blockSizeTokens: 16,
      adapters: [],
      timeoutMs: 300,
    });
  });

  it.for([
    { name: "a kind that is none", value: { kind: "bytes" }, says: "'content' | 'tokens'" },
    { name: "tokens by nobody", value: { kind: "tokens" }, says: "'render' | 'edge'" },
    { name: "a misspelt key", value: { ...EDGE, template: "r2:x" }, says: "template" },
    { name: "an edge without a tokenizer", value: { kind: "tokens", by: "edge" }, says: "string" },
    {
      name: "blocks that do not fill 64 tokens evenly",
      value: { ...EDGE, blockSizeTokens: 48 },
      says: "one of 1, 2, 4, 8, 16, 32, 64",
    },
    {
      name: "a file that is nowhere",
      value: { ...EDGE, tokenizer: "/etc/passwd" },
      says: "r2:KEY, assets:/PATH",
    },
  ])("may not be $name", ({ value, says }) => {
    const messages = prefixKeysSchema.safeParse(value).error!.issues.map(({ message }) => message);
    expect(messages.join("\n")).toContain(says);
  });
});

describe("where a file is", () => {
  it.for([
    { text: "r2:a/b.json", location: { kind: "r2", key: "a/b.json" } },
    { text: "assets:/a.json", location: { kind: "assets", path: "/a.json" } },
    { text: "https://x.test/a", location: { kind: "url", url: "https://x.test/a" } },
    { text: "r2:", location: undefined },
    { text: "r2:/a", location: undefined },
    { text: "assets:a.json", location: undefined },
    { text: "assets://x.test/a.json", location: undefined },
    { text: "file:///etc/passwd", location: undefined },
    { text: "https://x test", location: undefined },
  ])("$text", ({ text, location }) => {
    expect(parseFileLocation(text)).toEqual(location);
  });
});
