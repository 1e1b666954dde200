import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeHeader,
  FRAME,
  FRAME_HEADER_BYTES,
  framePayload,
} from "../../../src/agents/protocol/codec.ts";
import { decodeKv, encodeKv, type KvSection } from "../../../src/agents/protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";

const PLACE = { version: 2, seq: 9 };
const HEAD_BYTES = 24;
const u32 = fc.nat(0xffff_ffff);
const section = fc
  .record({
    stream: u32,
    seq: u32,
    begins: fc.boolean(),
    completes: fc.boolean(),
    counts: fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)),
    saysEnds: fc.boolean(),
  })
  .chain(({ counts: [onGpuCount, belowCount, goneCount], saysEnds, ...head }) => {
    const words = (onGpuCount + belowCount + goneCount) * 2;
    return fc.array(u32, { minLength: words, maxLength: words }).map((keys): KvSection => ({
      ...head,
      keys: Uint32Array.from(keys),
      onGpuCount,
      belowCount,
      ...(saysEnds ? { ends: endsOf(onGpuCount + belowCount) } : {}),
    }));
  });

const endsOf = (count: number) => Uint16Array.from({ length: count }, (_, i) => 65_535 - i);

function sectionOf(keyCount: number): KvSection {
  return {
    stream: 1,
    seq: 0,
    begins: true,
    completes: true,
    keys: new Uint32Array(keyCount * 2),
    onGpuCount: keyCount,
    belowCount: 0,
  };
}

describe("KV frames", () => {
  it("have the bytes that agents in the field send", () => {
    const frame = encodeKv(PLACE, [
      {
        ...sectionOf(0),
        stream: 7,
        seq: 2,
        begins: false,
        keys: Uint32Array.of(1, 2, 3, 4, 5, 6),
        onGpuCount: 1,
        belowCount: 1,
      },
    ]);
    expect(Buffer.from(frame).toString("hex")).toBe(
      [
        "070200000000000000002240",
        "070000000200000002000000010000000100000001000000",
        "010000000200000003000000040000000500000006000000",
      ].join(""),
    );
  });

  it("have the ends of held keys behind the keys, filled up to a word", () => {
    const keys = Uint32Array.of(1, 2, 3, 4, 5, 6);
    const one = { ...sectionOf(0), keys, onGpuCount: 1, ends: Uint16Array.of(0x0102) };
    const frame = encodeKv(PLACE, [one]);
    expect(Buffer.from(frame).toString("hex").slice(24)).toBe(
      [
        "010000000000000007000000010000000000000002000000",
        "010000000200000003000000040000000500000006000000",
        "02010000",
      ].join(""),
    );
    for (let length = frame.byteLength - 1; length > frame.byteLength - 5; length--) {
      const cut = framePayload(frame.subarray(0, length));
      expect(decodeKv(cut)).toEqual({ ok: false, error: "too-short" });
    }
  });

  it("are read as they were written, wherever they lie in memory", () => {
    fc.assert(
      fc.property(fc.array(section, { maxLength: 6 }), fc.nat(7), (sections, offset) => {
        const frame = encodeKv(PLACE, sections);
        expect(decodeHeader(frame)).toEqual({ ok: true, value: { type: FRAME.kv, ...PLACE } });
        const outer = new Uint8Array(frame.byteLength + 16);
        outer.set(frame, offset);
        const inner = outer.subarray(offset, offset + frame.byteLength);
        expect(decodeKv(framePayload(inner))).toEqual({ ok: true, value: sections });
      }),
    );
  });

  it("are refused where they are cut off, in a head or among keys", () => {
    const payload = framePayload(encodeKv(PLACE, [sectionOf(2), sectionOf(1)]));
    const ends = new Set([0, HEAD_BYTES + 16, payload.byteLength]);
    for (let length = 0; length <= payload.byteLength; length++) {
      expect(decodeKv(payload.subarray(0, length)).ok).toBe(ends.has(length));
    }
  });

  it("never throw, and never give more than they hold, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const decoded = decodeKv(bytes);
        if (!decoded.ok) return;
        const words = decoded.value.reduce((sum, { keys }) => sum + keys.length + 6, 0);
        expect(words * 4).toBe(bytes.byteLength);
        for (const { keys, onGpuCount, belowCount } of decoded.value) {
          expect(onGpuCount + belowCount).toBeLessThanOrEqual(keys.length / 2);
        }
      }),
      { numRuns: 500 },
    );
  });

  it.for([
    { name: "the most keys", counts: [PROTOCOL_LIMITS.kvFrameKeysMax], ok: true },
    { name: "one key too many", counts: [PROTOCOL_LIMITS.kvFrameKeysMax + 1], ok: false },
    {
      name: "one key too many, in two sections",
      counts: [PROTOCOL_LIMITS.kvFrameKeysMax, 1],
      ok: false,
    },
  ])("hold $name: $ok", ({ counts, ok }) => {
    const frame = encodeKv(PLACE, counts.map(sectionOf));
    expect(frame.byteLength).toBeLessThan(PROTOCOL_LIMITS.frameBytesMax);
    expect(decodeKv(framePayload(frame)).ok).toBe(ok);
  });

  it("hold a section for each endpoint a pool may have, and no more", () => {
    const sections = Array.from({ length: PROTOCOL_LIMITS.endpointsMax + 1 }, () => sectionOf(0));
    expect(decodeKv(framePayload(encodeKv(PLACE, sections))).ok).toBe(false);
    expect(decodeKv(framePayload(encodeKv(PLACE, sections.slice(1)))).ok).toBe(true);
  });

  it("are refused with counts that only fit when they wrap, and with flags nobody knows", () => {
    const payload = framePayload(encodeKv(PLACE, [sectionOf(1)]));
    const view = new DataView(payload.buffer, payload.byteOffset);
    view.setUint32(8, 8, true);
    expect(decodeKv(payload)).toEqual({ ok: false, error: "bad-payload" });
    view.setUint32(8, 3, true);
    view.setUint32(12, 0xffff_ffff, true);
    view.setUint32(16, 2, true);
    expect(decodeKv(payload)).toEqual({ ok: false, error: "bad-payload" });
    expect(FRAME_HEADER_BYTES % 4).toBe(0);
  });
});
