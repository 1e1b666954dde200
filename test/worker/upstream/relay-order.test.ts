import { describe, expect, it } from "vitest";
import { MARKS_MAX, RelayMarks, UNREACHABLE_MS } from "../../../src/worker/upstream/relay-order.ts";

const relay = (url: string) => ({ url, keys: [] });
const RELAYS = ["a", "b", "c"].map(relay);
const urls = (marks: RelayMarks, nowMs: number, random = 0) =>
  marks.order(RELAYS, nowMs, random).map(({ url }) => url);

describe("RelayMarks", () => {
  it.for([
    { random: 0, expected: ["a", "b", "c"] },
    { random: 0.34, expected: ["b", "c", "a"] },
    { random: 0.999, expected: ["c", "a", "b"] },
  ])("begins at $expected for $random", ({ random, expected }) => {
    expect(urls(new RelayMarks(), 0, random)).toEqual(expected);
  });

  it("puts an unreachable relay last, until the mark expires", () => {
    const marks = new RelayMarks();
    marks.mark("a", 1_000);
    expect(urls(marks, 1_000)).toEqual(["b", "c", "a"]);
    expect(urls(marks, 1_000 + UNREACHABLE_MS)).toEqual(["a", "b", "c"]);
  });

  it("forgets all when it is full", () => {
    const marks = new RelayMarks();
    for (let i = 0; i < MARKS_MAX; i++) marks.mark(`r${i}`, 0);
    expect(marks.isMarked("r0", 0)).toBe(true);
    marks.mark("one-more", 0);
    expect(marks.isMarked("r0", 0)).toBe(false);
    expect(marks.isMarked("one-more", 0)).toBe(true);
  });
});
