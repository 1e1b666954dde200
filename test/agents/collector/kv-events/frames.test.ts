import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeReplayRequest,
  parseLiveFrames,
  parseReplayFrames,
  parseTopic,
  TOPIC_BYTES_MAX,
} from "../../../../src/agents/collector/kv-events/frames.ts";
import { vector, VECTORS } from "./support/batches.ts";

const hex = (text: string) => Buffer.from(text, "hex");
const seq7 = hex("0000000000000007");
const end = hex("ffffffffffffffff");
const empty = Buffer.alloc(0);
const topic = hex(VECTORS.live["topic"]!);
const payload = Buffer.from(vector("M4"));

describe("live frames", () => {
  it.for([0, 258])("reads sequence %d", (seq) => {
    const frames = [topic, hex(VECTORS.live[`seq=${seq}`]!), payload];
    expect(parseLiveFrames(frames)).toEqual({ topic, seq, payload });
  });

  it("reads the first 8 bytes of a longer sequence", () => {
    const seq = Buffer.concat([seq7, end]);
    expect(parseLiveFrames([topic, seq, payload])?.seq).toBe(7);
  });

  it.for([
    { says: "two", frames: [topic, seq7] },
    { says: "four", frames: [empty, topic, seq7, payload] },
    { says: "a short sequence", frames: [topic, seq7.subarray(1), payload] },
    { says: "a sequence no publisher reaches", frames: [topic, end, payload] },
    { says: "a topic above the bound", frames: [Buffer.alloc(TOPIC_BYTES_MAX + 1), seq7, payload] },
  ])("refuses $says", ({ frames }) => {
    expect(parseLiveFrames(frames)).toBeUndefined();
  });

  it("takes a topic at the bound", () => {
    expect(parseLiveFrames([Buffer.alloc(TOPIC_BYTES_MAX), seq7, payload])).toBeDefined();
  });
});

describe("replay frames", () => {
  it("asks as the vectors do", () => {
    const frames = encodeReplayRequest(7).map((frame) => Buffer.from(frame).toString("hex"));
    expect(frames).toEqual(VECTORS.replay["request startSeq=7 (DEALER sends)"]);
  });

  it("reads both framings and both ends", () => {
    expect(parseReplayFrames([empty, topic, seq7, payload])).toEqual({
      type: "batch",
      topic,
      seq: 7,
      payload,
    });
    expect(parseReplayFrames([empty, seq7, payload])).toMatchObject({
      type: "batch",
      seq: 7,
      payload,
    });
    for (const name of ["terminator new (DEALER receives)", "terminator old"]) {
      const frames = VECTORS.replay[name]!.map(hex);
      expect(parseReplayFrames(frames)).toEqual({ type: "end" });
    }
  });

  it.for([
    { says: "no empty frame first", frames: [topic, seq7, payload] },
    { says: "too few", frames: [empty, payload] },
    { says: "too many", frames: [empty, topic, seq7, payload, empty] },
    { says: "no payload and no end mark", frames: [empty, seq7, empty] },
    { says: "an end mark that is too long", frames: [empty, Buffer.concat([end, end]), empty] },
    { says: "none", frames: [] },
  ])("refuses $says", ({ frames }) => {
    expect(parseReplayFrames(frames)).toBeUndefined();
  });

  it("reads back every sequence it asks for", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (from) => {
        const [, sequence] = encodeReplayRequest(from);
        expect(parseLiveFrames([topic, sequence, payload])?.seq).toBe(from);
      }),
    );
  });
});

describe("topics", () => {
  it.for([
    ["kv@10.0.0.7:8000@Qwen/Qwen3-32B", "10.0.0.7:8000", "Qwen/Qwen3-32B"],
    ["kv@pod@model@v2", "pod", "model@v2"],
    ["kv@SHARED_STORAGE@m", "SHARED_STORAGE", "m"],
    ["kv@pod@m\u0000sgl-kv-epoch=4@x", "pod", "m"],
    ["kv@pod", "kv@pod", ""],
    ["other@pod@m", "other@pod@m", ""],
    ["", "", ""],
  ] as const)("%j", ([text, pod, model]) => {
    expect(parseTopic(Buffer.from(text))).toEqual({ pod, model });
  });
});
