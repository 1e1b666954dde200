import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeHeader,
  decodeMetrics,
  encodeFrame,
  encodeMetrics,
  FRAME,
  FRAME_HEADER_BYTES,
  framePayload,
  type Decoded,
  type MetricsRow,
} from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const errorOf = (decoded: Decoded<unknown>) => (decoded.ok ? undefined : decoded.error);

// Golden bytes: a change here breaks agents that are already out.
const MEMBERSHIP = "01 01 0000 000000000000f03f 7b7d";
const METRICS = [
  "02 01 0000 0000000000001c40", // METRICS, version 1, seq 7
  "0200", // two rows
  "0100 00 00 0500 2a000000 0000000000000840 000000000000e03f", // endpoint 1, mask 0b101, 42 ms: 3, 0.5
  "0200 01 00 0000 ffffffff", // endpoint 2, unreachable, no fields, age at its maximum
].join("");
const ROWS: MetricsRow[] = [
  { endpoint: 1, status: 0, ageMs: 42, mask: 0b101, values: [3, 0.5] },
  { endpoint: 2, status: 1, ageMs: 0xffffffff, mask: 0, values: [] },
];

describe("frames", () => {
  it("have the bytes that agents in the field send", () => {
    const payload = Buffer.from("{}");
    expect(hex(encodeFrame({ type: FRAME.membership, version: 1, seq: 1 }, payload))).toBe(
      MEMBERSHIP.replaceAll(" ", ""),
    );
    expect(hex(encodeMetrics({ version: 1, seq: 7 }, ROWS))).toBe(METRICS.replaceAll(" ", ""));
  });

  it("are read from those bytes", () => {
    const frame = unhex(METRICS);
    expect(decodeHeader(frame)).toEqual({ ok: true, value: { type: 2, version: 1, seq: 7 } });
    expect(decodeMetrics(framePayload(frame))).toEqual({ ok: true, value: ROWS });
  });

  it("are read from the middle of a larger buffer", () => {
    const inner = unhex(METRICS);
    const outer = new Uint8Array(inner.byteLength + 7);
    outer.set(inner, 3);
    const frame = outer.subarray(3, 3 + inner.byteLength);
    expect(decodeMetrics(framePayload(frame))).toEqual({ ok: true, value: ROWS });
  });

  it("carry sequence numbers past 32 bits", () => {
    const seq = Number.MAX_SAFE_INTEGER;
    const header = { type: FRAME.tickets, version: PROTOCOL_VERSION, seq };
    expect(decodeHeader(encodeFrame(header, new Uint8Array()))).toEqual({
      ok: true,
      value: header,
    });
  });

  it("cap an age that does not fit", () => {
    const frame = encodeMetrics({ version: 1, seq: 1 }, [
      { endpoint: 0, status: 0, ageMs: 1e12, mask: 0, values: [] },
    ]);
    expect(decodeMetrics(framePayload(frame))).toMatchObject({ value: [{ ageMs: 0xffffffff }] });
  });
});

describe("decodeHeader", () => {
  const header = (type: number, version: number, seq: number) => {
    const frame = encodeFrame({ type: FRAME.membership, version: 1, seq }, new Uint8Array());
    frame[0] = type;
    frame[1] = version;
    return frame;
  };

  it.for([
    { name: "nothing", frame: new Uint8Array(), error: "too-short" },
    { name: "half a header", frame: new Uint8Array(FRAME_HEADER_BYTES - 1), error: "too-short" },
    { name: "an unknown type", frame: header(9, 1, 1), error: "unknown-type" },
    { name: "a type newer than its version", frame: header(4, 1, 1), error: "unknown-type" },
    { name: "a version before ours", frame: header(1, 0, 1), error: "unsupported-version" },
    {
      name: "a version after ours",
      frame: header(1, PROTOCOL_VERSION + 1, 1),
      error: "unsupported-version",
    },
    { name: "sequence 0", frame: header(1, 1, 0), error: "bad-payload" },
    { name: "a fractional sequence", frame: header(1, 1, 1.5), error: "bad-payload" },
    {
      name: "a sequence that is not a number",
      frame: header(1, 1, Number.NaN),
      error: "bad-payload",
    },
  ])("refuses $name", ({ frame, error }) => {
    expect(errorOf(decodeHeader(frame))).toBe(error);
  });

  it("takes a frame at the size limit and refuses one past it", () => {
    const frame = (bytes: number) =>
      encodeFrame(
        { type: FRAME.tickets, version: PROTOCOL_VERSION, seq: 1 },
        new Uint8Array(bytes - FRAME_HEADER_BYTES),
      );
    expect(decodeHeader(frame(PROTOCOL_LIMITS.frameBytesMax)).ok).toBe(true);
    expect(errorOf(decodeHeader(frame(PROTOCOL_LIMITS.frameBytesMax + 1)))).toBe("too-long");
  });
});

describe("decodeMetrics", () => {
  const row = (endpoint: number): MetricsRow => ({
    endpoint,
    status: 0,
    ageMs: 0,
    mask: 1,
    values: [1],
  });
  const payload = (rows: readonly MetricsRow[]) =>
    framePayload(encodeMetrics({ version: 1, seq: 1 }, rows));

  it("refuses every shortened payload, and one that is too long", () => {
    const whole = payload(ROWS);
    for (let size = 0; size < whole.byteLength; size++) {
      expect(errorOf(decodeMetrics(whole.subarray(0, size)))).toBe("too-short");
    }
    const longer = new Uint8Array(whole.byteLength + 1);
    longer.set(whole);
    expect(errorOf(decodeMetrics(longer))).toBe("bad-payload");
  });

  it("tells partial samples and fields that are no longer published", () => {
    const rows: MetricsRow[] = [
      { ...row(0), values: [Number.NaN], isPartial: true },
      { ...row(1), values: [2] },
    ];
    expect(decodeMetrics(payload(rows))).toEqual({ ok: true, value: rows });
  });

  it("does not stumble over flags of a later release", () => {
    const bytes = Uint8Array.from(payload([row(0)]));
    bytes[5] = 0xfe;
    expect(decodeMetrics(bytes)).toEqual({ ok: true, value: [row(0)] });
  });

  it.for([Infinity, -Infinity])("refuses the value %d", (value) => {
    expect(errorOf(decodeMetrics(payload([{ ...row(0), values: [value] }])))).toBe("bad-payload");
  });

  it("refuses an unknown status", () => {
    const bytes = Uint8Array.from(payload([row(0)]));
    bytes[4] = 3;
    expect(errorOf(decodeMetrics(bytes))).toBe("bad-payload");
  });

  it("takes as many rows as a pool may have endpoints, all fields set, in one frame", () => {
    const full = (endpoint: number): MetricsRow => ({
      ...row(endpoint),
      mask: 0xffff,
      values: Array.from({ length: PROTOCOL_LIMITS.metricFieldsMax }, (_, i) => i),
    });
    const rows = Array.from({ length: PROTOCOL_LIMITS.endpointsMax }, (_, i) => full(i));
    const frame = encodeMetrics({ version: 1, seq: 1 }, rows);
    expect(decodeHeader(frame).ok).toBe(true);
    expect(decodeMetrics(framePayload(frame))).toEqual({ ok: true, value: rows });
    expect(errorOf(decodeMetrics(payload([...rows, full(0)])))).toBe("bad-payload");
  });

  it("gives back what was encoded", () => {
    const rows = fc.array(
      fc
        .record({
          endpoint: fc.nat(0xffff),
          status: fc.constantFrom(0 as const, 1 as const, 2 as const),
          ageMs: fc.nat(0xffffffff),
          fields: fc.array(fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })), {
            maxLength: 16,
          }),
        })
        .map(({ fields, ...rest }) => ({
          ...rest,
          mask: fields.reduce<number>(
            (mask, field, i) => (field === null ? mask : mask | (1 << i)),
            0,
          ),
          values: fields.filter((field) => field !== null),
        })),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(rows, (input) => {
        expect(decodeMetrics(payload(input))).toEqual({ ok: true, value: input });
      }),
    );
  });

  it("never throws, whatever the bytes", () => {
    const inputs = fc.sample(fc.uint8Array({ maxLength: 80 }), 5_000);
    const outcomes = new Set(
      inputs.map((bytes) => [decodeHeader(bytes).ok, decodeMetrics(bytes).ok].join()),
    );
    expect([...outcomes]).toContain("false,false");
  });
});
