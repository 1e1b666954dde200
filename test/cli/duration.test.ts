import { describe, expect, it } from "vitest";
import { describeSeconds, durationFlag } from "../../src/cli/duration.ts";

describe("durationFlag", () => {
  it.for([
    { text: "90s", seconds: 90 },
    { text: "15m", seconds: 900 },
    { text: "1h", seconds: 3_600 },
    { text: "30d", seconds: 2_592_000 },
  ])("reads $text", ({ text, seconds }) => {
    expect(durationFlag("since", text)).toBe(seconds);
  });

  it.for(["", "0s", "31d", "1", "h", "1 h", "-1h", "1.5h", "1h30m", "1w"])("refuses %j", (text) => {
    expect(() => durationFlag("since", text)).toThrow("--since takes a time such as");
  });
});

describe("describeSeconds", () => {
  it("uses a unit that fits", () => {
    expect([5, 300, 9_000].map(describeSeconds)).toEqual(["5 s", "5 min", "2.5 h"]);
  });
});
