import { describe, expect, it } from "vitest";
import {
  CLIENT_REQUEST_ID_CHARS_MAX,
  createRequestId,
  parseClientRequestId,
  parseRequestId,
  poolTag,
  requestIdAt,
  requestSeed,
} from "../../src/worker/request-id.ts";

const RANDOM = "0123456789abcdef0123456789abcdef";

describe("our request ids", () => {
  it("name the pool that was asked last", () => {
    const first = createRequestId(RANDOM);
    expect(first).toBe(`fl-00000000-00-${RANDOM}`);
    const asked = requestIdAt(requestIdAt(first, poolTag("eu-1")), poolTag("us-1"));
    expect(parseRequestId(asked)).toEqual({ poolTag: poolTag("us-1"), shard: 0 });
    expect(asked).toContain(RANDOM);
    const sharded = requestIdAt(asked, poolTag("us-1"), 11);
    expect(parseRequestId(sharded)).toEqual({ poolTag: poolTag("us-1"), shard: 11 });
    expect([requestSeed(first), requestSeed(sharded)]).toEqual([0x0123_4567, 0x0123_4567]);
  });

  it("have tags that every version computes alike", () => {
    expect([poolTag(""), poolTag("eu-1"), poolTag("us-1")]).toEqual([
      "811c9dc5",
      "4ac9b395",
      poolTag("us-1"),
    ]);
  });

  it.for([
    { text: "" },
    { text: "fl-1" },
    { text: `fl-0000000g-00-${RANDOM}` },
    { text: `fl-00000000-00-${RANDOM}0` },
    { text: ` fl-00000000-00-${RANDOM}` },
  ])("are not $text", ({ text }) => {
    expect(parseRequestId(text)).toBeUndefined();
  });
});

describe("a client's request id", () => {
  it.for([
    { header: "a", expected: "a" },
    { header: "x".repeat(CLIENT_REQUEST_ID_CHARS_MAX), expected: "x".repeat(128) },
    { header: "x".repeat(CLIENT_REQUEST_ID_CHARS_MAX + 1), expected: undefined },
    { header: "", expected: undefined },
    { header: "a b", expected: undefined },
    { header: "a\tb", expected: undefined },
    { header: "\u00e4", expected: undefined },
    { header: null, expected: undefined },
  ])("$header is read as $expected", ({ header, expected }) => {
    expect(parseClientRequestId(header)).toBe(expected);
  });
});
