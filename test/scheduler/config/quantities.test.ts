import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatDuration,
  parseDurationMs,
  parseQuantity,
} from "../../../src/scheduler/config/quantities.ts";

describe("a quantity", () => {
  it.for<[string | number, number | undefined]>([
    [5000, 5000],
    ["5000", 5000],
    ["1G", 1_000_000_000],
    ["512Mi", 512 * 1024 * 1024],
    ["1.5Ki", 1536],
    ["1k", 1000],
    ["2e3", 2000],
    ["100m", 1],
    ["0.1", 1],
    ["-1k", -1000],
    ["-0", 0],
    [0, 0],
    ["+3", 3],
    [".5k", 500],
    ["1g", undefined],
    ["1 G", undefined],
    ["1GB", undefined],
    ["", undefined],
    ["1e3k", undefined],
    [Number.NaN, undefined],
    ["1".repeat(65), undefined],
  ])("%j is %j", ([written, value]) => {
    expect(parseQuantity(written)).toBe(value);
  });
});

describe("a duration", () => {
  it.for<[string, number | undefined]>([
    ["60s", 60_000],
    ["1m30s", 90_000],
    ["200ms", 200],
    ["1.5h", 5_400_000],
    ["250us", 0.25],
    ["0", 0],
    ["0s", 0],
    ["-1s", -1_000],
    ["60", undefined],
    ["1d", undefined],
    ["s", undefined],
    ["", undefined],
    ["1s ", undefined],
    ["1s".repeat(33), undefined],
    // As in Go: whole nanoseconds, and no more of them than an int64 has.
    ["0.1ns", 0],
    ["-0.1ns", 0],
    ["1.6ns", 0.000_002],
    ["2562047h", 9_223_369_200_000],
    ["2562048h", undefined],
    [`${"9".repeat(50)}h`, undefined],
  ])("%j is %j ms", ([written, ms]) => {
    expect(parseDurationMs(written)).toBe(ms);
  });

  it("is the same after it was written again", () => {
    fc.assert(
      fc.property(fc.nat(1e12), (ms) => {
        expect(parseDurationMs(formatDuration(ms))).toBe(ms);
      }),
    );
    const amount = fc.oneof(
      fc.nat(1e9).map(String),
      fc.double({ min: 0, max: 1e12, noNaN: true }).map((value) => value.toFixed(9)),
      fc.bigInt(0n, 10n ** 20n).map(String),
    );
    const unit = fc.constantFrom("ns", "us", "µs", "ms", "s", "m", "h");
    fc.assert(
      fc.property(amount, unit, (digits, name) => {
        const ms = parseDurationMs(`${digits}${name}`);
        fc.pre(ms !== undefined);
        expect(parseDurationMs(formatDuration(ms!))).toBe(ms);
      }),
      { numRuns: 1_000 },
    );
    expect(formatDuration(60_000)).toBe("60s");
    expect(formatDuration(0.25)).toBe("250000ns");
    expect(formatDuration(1_500)).toBe("1500ms");
  });
});
