import { describe, expect, it } from "vitest";
import { KvStream } from "../../../../src/agents/collector/kv-stream/kv-stream.ts";
import {
  decodeHeader,
  FRAME,
  framePayload,
  type FramePlace,
} from "../../../../src/agents/protocol/codec.ts";
import {
  decodeKv,
  KV_END_EVEN,
  KV_END_OF_HIT,
  KV_END_UNKNOWN,
  type KvSection,
} from "../../../../src/agents/protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { type KvOffer, kvOfferSchema } from "../../../../src/agents/protocol/messages.ts";
import { HELD_ON_GPU, NOT_HELD } from "../../../../src/scheduler/kv/residency/holding.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";

const WINDOW_BYTES = 50_000;
/** Of one endpoint. */
const KEYS_MAX = 110_000;
const endpointOf = (id: string) =>
  ({ id, address: `${id}:8000`, engine: "vllm", labels: {} }) as const;

/** A stream of two endpoints, connected, and what it has sent. */
class Fixture {
  readonly registry = new MetricRegistry();
  readonly whole = new Map([
    ["a", true],
    ["b", true],
  ]);
  readonly said: ({ offer: KvOffer } | { sections: KvSection[] })[] = [];
  tokensUpTo: (key: number) => number | "even" | "hit-end" | undefined = () => undefined;
  bytes = 0;
  /** How often it was asked what is known wholly. */
  asked = 0;
  seq = 0;
  isUp = true;
  readonly stream: KvStream;

  /** Tells of everything that an endpoint holds. */
  tellAgain: (endpoint: string) => void = () => undefined;

  constructor(windowBytes: number | undefined = WINDOW_BYTES) {
    const sources = ["a", "b"].map((endpoint) => ({ endpoint, rank: 0 }));
    this.stream = new KvStream({
      send: (encode) => this.#send(encode),
      sourceAt: (slot) => sources[slot],
      whole: () => {
        this.asked++;
        return this.whole;
      },
      tokensUpTo: (key) => this.tokensUpTo(key),
      tellAgain: (endpoint) => this.tellAgain(endpoint),
      keysMax: KEYS_MAX,
      registry: this.registry,
    });
    this.stream.follow([endpointOf("a"), endpointOf("b")]);
    this.stream.connected();
    this.stream.configured(windowBytes);
  }

  get offers(): KvOffer[] {
    return this.said.flatMap((each) => ("offer" in each ? [each.offer] : []));
  }

  get sections(): KvSection[] {
    return this.said.flatMap((each) => ("sections" in each ? each.sections : []));
  }

  hold(slot: number, from: number, count: number): void {
    for (let key = from; key < from + count; key++) {
      this.stream.held(slot, key, Math.imul(key, 0x9e37_79b1) >>> 0, HELD_ON_GPU);
    }
  }

  ask(...endpoints: string[]): void {
    const streams = endpoints.map((endpoint, i) => ({ endpoint, stream: 70 + i }));
    this.stream.received({ t: "kv-send", streams });
  }

  #send(encode: (place: FramePlace) => Uint8Array): boolean {
    if (!this.isUp) return false;
    const frame = encode({ version: 2, seq: ++this.seq });
    const header = decodeHeader(frame);
    if (!header.ok) throw new Error(header.error);
    if (header.value.type === FRAME.kvOffer) {
      const json: unknown = JSON.parse(Buffer.from(framePayload(frame)).toString());
      this.said.push({ offer: kvOfferSchema.parse(json) });
      return true;
    }
    const decoded = decodeKv(framePayload(frame));
    if (!decoded.ok) throw new Error(decoded.error);
    this.said.push({ sections: decoded.value });
    this.bytes += frame.byteLength;
    return true;
  }
}

describe("KvStream", () => {
  it("says nothing to an object that takes nothing, or does not have the list yet", () => {
    const older = new Fixture(undefined);
    older.stream.configured(undefined);
    older.stream.listed();
    older.stream.flush();
    const early = new Fixture();
    early.stream.flush();
    expect([older.said, early.said]).toEqual([[], []]);
    early.stream.listed();
    early.stream.flush();
    expect(early.offers).toEqual([{ whole: [0, 1], partial: [] }]);
  });

  it("tells with held keys where content ends in tokens, if the object asks for it", () => {
    const fixture = new Fixture();
    const tokens = new Map<number, number | "even" | "hit-end">([
      [1, 0],
      [2, 16],
      [3, 31],
      [4, 8 * 0xfffd],
      [5, "even"],
      [6, "hit-end"],
    ]);
    fixture.tokensUpTo = (key) => tokens.get(key);
    fixture.stream.listed();
    fixture.hold(0, 1, 6);
    fixture.ask("a");
    expect(fixture.sections.map(({ ends }) => ends)).toEqual([undefined]);
    fixture.stream.configured(WINDOW_BYTES, true);
    fixture.ask("a");
    const ends = Uint16Array.of(0, 2, 3, KV_END_UNKNOWN, KV_END_EVEN, KV_END_OF_HIT);
    expect(fixture.sections.at(-1)!.ends).toEqual(ends);
    // What is gone has no end.
    fixture.stream.held(0, 1, Math.imul(1, 0x9e37_79b1) >>> 0, NOT_HELD);
    fixture.stream.flush();
    expect(fixture.sections.at(-1)).toMatchObject({ onGpuCount: 0, ends: new Uint16Array() });
  });

  it("offers what is followed, and again when that changes", () => {
    const fixture = new Fixture();
    fixture.whole.delete("b");
    fixture.stream.listed();
    fixture.stream.flush();
    fixture.stream.flush();
    fixture.whole.set("b", false);
    fixture.stream.flush();
    expect(fixture.offers).toEqual([
      { whole: [0], partial: [] },
      { whole: [0], partial: [1] },
    ]);
  });

  it("sends what it is asked for, from its beginning, and then what changes", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.hold(0, 0, 3);
    fixture.hold(1, 0, 3);
    fixture.ask("a");
    fixture.stream.held(0, 1, Math.imul(1, 0x9e37_79b1) >>> 0, NOT_HELD);
    fixture.stream.flush();
    expect(
      fixture.sections.map(({ stream, seq, begins, completes, keys, onGpuCount }) => ({
        stream,
        seq,
        flags: [begins, completes],
        counts: [onGpuCount, keys.length / 2],
      })),
    ).toEqual([
      { stream: 70, seq: 0, flags: [true, true], counts: [3, 3] },
      { stream: 70, seq: 1, flags: [false, false], counts: [0, 1] },
    ]);
  });

  it("sends no more than the window holds until there is credit, and then the rest", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.hold(0, 0, 20_000);
    fixture.ask("a");
    const frameBytesMax = PROTOCOL_LIMITS.kvFrameKeysMax * 8 + 100;
    expect(fixture.bytes).toBeGreaterThan(WINDOW_BYTES - frameBytesMax);
    expect(fixture.bytes).toBeLessThan(WINDOW_BYTES + frameBytesMax);
    fixture.stream.flush();
    expect(fixture.bytes).toBeLessThan(WINDOW_BYTES + frameBytesMax);
    while (fixture.sections.at(-1)!.completes === false) {
      fixture.stream.received({ t: "kv-credit", seq: fixture.seq });
    }
    expect(fixture.sections.reduce((sum, { keys }) => sum + keys.length / 2, 0)).toBe(20_000);
  });

  it("gives each endpoint its turn", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.hold(0, 0, 20_000);
    fixture.hold(1, 0, 10);
    fixture.ask("a", "b");
    const [first] = fixture.said.flatMap((each) => ("sections" in each ? [each.sections] : []));
    expect(first!.map(({ stream }) => stream)).toEqual([70, 71]);
  });

  it("is whole for the object behind what makes it so, and no longer before what it lacks", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.whole.set("a", false);
    fixture.ask("a");
    fixture.hold(0, 0, 5);
    fixture.whole.set("a", true);
    fixture.stream.flush();
    fixture.stream.flush();
    expect(fixture.offers).toEqual([
      { whole: [1], partial: [0] },
      { whole: [0, 1], partial: [] },
    ]);
    const raisedAt = fixture.said.findLastIndex((each) => "offer" in each);
    const toldAt = fixture.said.findLastIndex((each) => "sections" in each);
    expect(raisedAt).toBeGreaterThan(toldAt);
    fixture.whole.set("a", false);
    fixture.stream.held(0, 1, Math.imul(1, 0x9e37_79b1) >>> 0, NOT_HELD);
    fixture.stream.flush();
    expect(fixture.said.slice(-2).map((each) => "offer" in each)).toEqual([true, false]);
  });

  it("looks at what it offers when it is flushed, and not with each credit", async () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.hold(0, 0, 60_000);
    fixture.ask("a");
    expect(fixture.asked).toBe(1);
    while (fixture.sections.at(-1)!.completes === false) {
      fixture.stream.received({ t: "kv-credit", seq: fixture.seq });
    }
    fixture.hold(0, 100_000, PROTOCOL_LIMITS.kvFrameKeysMax);
    await Promise.resolve();
    expect(fixture.asked).toBe(1);
    fixture.stream.flush();
    expect(fixture.asked).toBe(2);
  });

  it("says before what comes of an endpoint that it is not known wholly any more", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.ask("a");
    fixture.stream.flush();
    fixture.whole.set("a", false);
    fixture.stream.doubted();
    fixture.stream.held(0, 1, 1, HELD_ON_GPU);
    fixture.stream.received({ t: "kv-credit", seq: fixture.seq });
    expect(fixture.said.slice(-2)).toMatchObject([
      { offer: { whole: [1], partial: [0] } },
      { sections: [{ onGpuCount: 1 }] },
    ]);
  });

  it("asks for everything again where it lacks keys and has room for them", () => {
    const fixture = new Fixture();
    const told: string[] = [];
    let heldTo = KEYS_MAX + 1;
    fixture.tellAgain = (endpoint) => {
      told.push(endpoint);
      fixture.hold(0, KEYS_MAX / 2, heldTo - KEYS_MAX / 2);
    };
    fixture.stream.listed();
    fixture.hold(0, 0, heldTo);
    fixture.stream.flush();
    expect([told, fixture.offers.at(-1)]).toEqual([[], { whole: [1], partial: [0] }]);
    for (let key = 0; key < KEYS_MAX / 2; key++) {
      fixture.stream.held(0, key, Math.imul(key, 0x9e37_79b1) >>> 0, NOT_HELD);
    }
    // Meanwhile it is too much again.
    heldTo = KEYS_MAX * 2;
    fixture.stream.flush();
    fixture.stream.flush();
    expect([told, fixture.offers.at(-1)]).toEqual([["a"], { whole: [1], partial: [0] }]);
    heldTo = KEYS_MAX + 1;
    for (let key = heldTo; key < KEYS_MAX * 2; key++) {
      fixture.stream.held(0, key, Math.imul(key, 0x9e37_79b1) >>> 0, NOT_HELD);
    }
    fixture.stream.flush();
    expect([told, fixture.offers.at(-1)]).toEqual([["a", "a"], { whole: [0, 1], partial: [] }]);
  });

  it("leaves an endpoint that came back out of one offer, so that it is asked for anew", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.ask("a");
    fixture.stream.follow([endpointOf("b")]);
    fixture.stream.follow([endpointOf("a"), endpointOf("b")]);
    fixture.stream.listed();
    fixture.stream.flush();
    fixture.stream.flush();
    expect(fixture.offers.slice(-2)).toEqual([
      { whole: [1], partial: [] },
      { whole: [0, 1], partial: [] },
    ]);
  });

  it("keeps what it could not send", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.ask("a");
    fixture.isUp = false;
    fixture.hold(0, 0, 5);
    fixture.stream.flush();
    fixture.isUp = true;
    fixture.stream.flush();
    expect(fixture.sections.at(-1)).toMatchObject({ seq: 1, onGpuCount: 5 });
  });

  it("does not wait for the next flush where many keys have changed", async () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.ask("a");
    fixture.hold(0, 0, PROTOCOL_LIMITS.kvFrameKeysMax - 1);
    await Promise.resolve();
    expect(fixture.sections).toHaveLength(1);
    fixture.hold(0, 10_000, 1);
    await Promise.resolve();
    expect(fixture.sections.length).toBeGreaterThan(1);
  });

  it("stops where it is told to, and says nothing of endpoints it does not have", () => {
    const fixture = new Fixture();
    fixture.stream.listed();
    fixture.ask("a", "c");
    fixture.stream.received({ t: "kv-stop", streams: [70] });
    fixture.hold(0, 0, 5);
    fixture.stream.flush();
    expect(fixture.sections.map(({ stream }) => stream)).toEqual([70]);
    expect(fixture.stream.figures.open).toBe(0);
  });
});
