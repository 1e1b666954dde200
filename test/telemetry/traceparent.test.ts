import { describe, expect, it } from "vitest";
import { childSpan, formatTraceparent, parseTraceparent } from "../../src/telemetry/traceparent.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

describe("parseTraceparent", () => {
  it("reads what formatTraceparent writes", () => {
    const header = `00-${TRACE}-${SPAN}-01`;
    const context = parseTraceparent(header);
    expect(context).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true });
    expect(formatTraceparent(context!)).toBe(header);
  });

  it("accepts a later version with more fields", () => {
    expect(parseTraceparent(`01-${TRACE}-${SPAN}-00-more`)?.isSampled).toBe(false);
  });

  it.for([
    ["nothing", null],
    ["version ff", `ff-${TRACE}-${SPAN}-01`],
    ["version 00 with more fields", `00-${TRACE}-${SPAN}-01-more`],
    ["an all-zero trace id", `00-${"0".repeat(32)}-${SPAN}-01`],
    ["an all-zero span id", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["upper case", `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ["a short id", `00-${TRACE.slice(1)}-${SPAN}-01`],
    ["a second line", `00-${TRACE}-${SPAN}-01\nx`],
  ])("refuses %s", ([, header]) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });
});

describe("childSpan", () => {
  const randomHex = (bytes: number) => "ab".repeat(bytes);

  it("stays in its parent's trace", () => {
    const parent = parseTraceparent(`00-${TRACE}-${SPAN}-01`);
    expect(childSpan(parent, randomHex)).toEqual({
      traceId: TRACE,
      spanId: "ab".repeat(8),
      isSampled: true,
    });
  });

  it("starts a trace where there is no parent", () => {
    expect(childSpan(undefined, randomHex).traceId).toBe("ab".repeat(16));
  });
});
