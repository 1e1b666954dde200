// What a decision is told of endpoints that are known exactly, in part, and not at all.

import { describe, expect, it } from "vitest";
import { KV_END_EVEN, type KvSection } from "../../../src/agents/protocol/kv-frames.ts";
import type { KvMessage } from "../../../src/agents/protocol/messages.ts";
import { ResidentKnowledge } from "../../../src/durable/kv/resident-knowledge.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { ENDPOINTS_MAX, EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { contentKeys, endpoint } from "../pool-client.ts";

const KEYS = contentKeys(1);
const FIRST_STREAM = 0xffff_ffff;

/** Three endpoints, of which the approximate index says that each holds `approximate` blocks. */
class Fixture {
  nowMs = 0;
  isOfTokens = false;
  readonly told: KvMessage[] = [];
  readonly table = new EndpointTable();
  readonly knowledge: ResidentKnowledge;

  constructor(approximate: number) {
    for (const n of [1, 2, 3]) this.table.add(endpoint(n));
    this.knowledge = new ResidentKnowledge({
      table: this.table,
      clock: () => this.nowMs,
      firstStream: FIRST_STREAM,
      approximate: (_keys, out) => void out.fill(approximate),
      tell: (_agent, message) => this.told.push(message),
      silentAfterMs: () => 10_000,
      defer: () => undefined,
    });
  }

  /** A collector tells that endpoints 0 and 1 hold so many blocks; of the second not all it may hold. */
  tell(onGpu: number, below: number): void {
    this.knowledge.offered("c", { whole: [endpoint(1)], partial: [endpoint(2)] });
    const streams = this.told.flatMap((each) => (each.t === "kv-send" ? each.streams : []));
    const sections = streams.map(({ stream }): KvSection => ({
      stream,
      seq: 0,
      begins: true,
      completes: true,
      keys: KEYS.subarray(0, (onGpu + below) * 2),
      onGpuCount: onGpu,
      belowCount: below,
      // 64 tokens a block.
      ends: Uint16Array.from({ length: onGpu + below }, (_, i) =>
        this.isOfTokens ? KV_END_EVEN : (i + 1) * 8,
      ),
    }));
    this.knowledge.received("c", sections, { seq: 1, bytes: 100 });
  }

  /** It finds out that it may not know all of the first either. */
  doubt(): void {
    this.knowledge.offered("c", { whole: [], partial: [endpoint(1), endpoint(2)] });
  }

  speculate(): void {
    const plugins = [
      { type: "precise-prefix-cache-producer", parameters: { speculativeIndexing: true } },
    ];
    this.knowledge.configure(schedulerConfigSchema.parse({ plugins }));
  }

  /** By endpoint: matched blocks, on GPUs, below. */
  answer(): number[][] {
    const [matched, gpu, cpu] = Array.from({ length: 3 }, () => new Int32Array(ENDPOINTS_MAX));
    const tiers = new Map([
      ["gpu", gpu!],
      ["cpu", cpu!],
    ]);
    this.knowledge.sourcesFor("m").exact!(KEYS, matched!, tiers);
    return [0, 1, 2].map((slot) => [matched![slot]!, gpu![slot]!, cpu![slot]!]);
  }
}

describe("ResidentKnowledge", () => {
  it("has nothing exact to say until a collector tells of an endpoint", () => {
    const fixture = new Fixture(5);
    expect(fixture.knowledge.sourcesFor("m").exact).toBeUndefined();
    expect(fixture.knowledge.state).toBeUndefined();
    fixture.tell(3, 2);
    expect(fixture.knowledge.sourcesFor("m").exact).toBeDefined();
    expect(fixture.knowledge.state).toMatchObject({ blocks: 5, pairs: 10 });
  });

  it("says what is known exactly as it is, and the larger of both where less is known", () => {
    const fixture = new Fixture(8);
    fixture.tell(3, 2);
    expect(fixture.answer()).toEqual([
      [5, 3, 2],
      [8, 6, 2],
      [8, 8, 0],
    ]);
  });

  it("does not take from a partial account what it is sure of", () => {
    const fixture = new Fixture(1);
    fixture.tell(3, 2);
    expect(fixture.answer()).toEqual([
      [5, 3, 2],
      [5, 3, 2],
      [1, 1, 0],
    ]);
  });

  it("counts what was just sent somewhere, if plugins ask for it, until its time is over", () => {
    const fixture = new Fixture(0);
    fixture.tell(3, 2);
    const picked = { slots: Int32Array.of(0, 1), prefill: Int32Array.of(1) };
    fixture.knowledge.picked(KEYS, picked);
    expect(fixture.answer()[0]).toEqual([5, 3, 2]);
    fixture.speculate();
    fixture.knowledge.picked(KEYS, picked);
    expect(fixture.answer()).toEqual([
      [20, 18, 2],
      [20, 18, 2],
      [0, 0, 0],
    ]);
    fixture.nowMs += 2_000;
    expect(fixture.answer()[0]).toEqual([5, 3, 2]);
  });

  it("forgets an engine that has started anew, asks for it again, and goes by the approximate index", () => {
    const fixture = new Fixture(2);
    fixture.tell(3, 2);
    const asked = fixture.told.length;
    fixture.knowledge.endpointRestarted(0);
    expect(fixture.answer()[0]).toEqual([2, 2, 0]);
    expect(fixture.told.slice(asked).map(({ t }) => t)).toEqual(["kv-send"]);
    const states = fixture.knowledge.describe([
      { address: endpoint(1).address },
      { address: endpoint(2).address },
      { address: endpoint(3).address },
    ] as never);
    expect(states.map(({ knowledge, knownBlocks }) => [knowledge, knownBlocks])).toEqual([
      ["none", 0],
      ["partial", 5],
      ["none", 0],
    ]);
  });

  it("numbers streams on past the highest", () => {
    const fixture = new Fixture(0);
    fixture.tell(1, 0);
    const streams = fixture.told.flatMap((each) => (each.t === "kv-send" ? each.streams : []));
    expect(streams.map(({ stream }) => stream)).toEqual([FIRST_STREAM, 0]);
  });

  it("remembers what a decision believed of an endpoint that is known exactly, until it is another cache", () => {
    const fixture = new Fixture(8);
    fixture.tell(3, 2);
    const { knowledge } = fixture;
    // Not looked up by what engines say yet.
    expect(knowledge.predictionFor(KEYS, 0)).toBeUndefined();
    fixture.answer();
    const prediction = knowledge.predictionFor(KEYS, 0)!;
    expect(prediction).toMatchObject({ slot: 0, blocks: 5, tokens: 320, approximateBlocks: 8 });
    expect(knowledge.predictionFor(contentKeys(1), 0)).toBeUndefined();
    // Known in part, and not at all.
    expect([1, 2].map((slot) => knowledge.predictionFor(KEYS, slot))).toEqual([
      undefined,
      undefined,
    ]);
    const end = { slot: 0, isPromptCached: true, ttftMs: 1, failedCount: 0 };
    const usage = { promptTokens: 1_280, cachedTokens: 320 };
    const ended = () =>
      knowledge.ended({ prediction, model: "m", keys: KEYS }, { ...end, ...usage });
    expect(ended()).toBe(320);
    // Whoever tells of it is not whole any more when the request ends.
    fixture.doubt();
    expect(ended()).toBeUndefined();
    knowledge.endpointRestarted(0);
    expect(ended()).toBeUndefined();
    expect(knowledge.predictionCounts).toMatchObject({
      verdicts: { right: 1, over: 0, under: 0 },
      skipped: { partial: 1, restarted: 1 },
    });
  });

  it("counts a prompt on as cached from where it has just been computed", () => {
    const fixture = new Fixture(0);
    fixture.tell(3, 2);
    fixture.speculate();
    fixture.answer();
    const { knowledge } = fixture;
    const prediction = knowledge.predictionFor(KEYS, 0)!;
    const usage = { promptTokens: 1_280, cachedTokens: 320 };
    const end = { slot: 0, isPromptCached: true, ttftMs: 1, failedCount: 0, ...usage };
    const believed = { prediction, model: "m", keys: KEYS };
    knowledge.ended(believed, { ...end, slot: 1 });
    knowledge.ended(believed, { ...end, isPromptCached: false });
    expect(fixture.answer()[0]![0]).toBe(5);
    knowledge.ended(believed, end);
    expect(fixture.answer()[0]![0]).toBe(20);
    fixture.nowMs += 2_000;
    expect(fixture.answer()[0]![0]).toBe(5);
  });

  it("believes events instead of what was just sent, once they have told of all of it", () => {
    const fixture = new Fixture(0);
    fixture.tell(3, 2);
    fixture.speculate();
    const { knowledge } = fixture;
    for (const slot of [0, 1]) knowledge.picked(KEYS, { slots: Int32Array.of(slot) });
    const section = (n: number, change: Partial<KvSection>): void => {
      const { stream } = fixture.told.flatMap((each) =>
        each.t === "kv-send" ? each.streams : [],
      )[0]!;
      const none = { begins: false, completes: false, onGpuCount: 0, belowCount: 0 };
      const keys = new Uint32Array(KEYS);
      knowledge.received("c", [{ stream, seq: n, ...none, keys, ...change }], {
        seq: n,
        bytes: 10,
      });
    };
    section(1, { onGpuCount: KEYS.length / 2 });
    expect(fixture.answer().map(([matched]) => matched)).toEqual([20, 20, 0]);
    // Evicted, well within the time for which it counted as sent there.
    section(2, {});
    expect(fixture.answer().map(([matched]) => matched)).toEqual([0, 20, 0]);
    expect(knowledge.predictionCounts.claimEnds.confirmed).toBe(1);
  });

  it("does not believe any longer what was not sent after all, or was not read", () => {
    const fixture = new Fixture(0);
    fixture.tell(3, 2);
    fixture.speculate();
    const { knowledge } = fixture;
    const matched = () => fixture.answer()[0]![0];
    knowledge.picked(KEYS, { slots: Int32Array.of(0) });
    knowledge.unsent(KEYS.slice(), 0);
    expect(matched()).toBe(5);
    const prediction = knowledge.predictionFor(KEYS, 0)!;
    knowledge.picked(KEYS, { slots: Int32Array.of(0) });
    const end = { slot: 1, isPromptCached: true, ttftMs: 1, failedCount: 1 };
    const usage = { promptTokens: 1_280, cachedTokens: 0 };
    knowledge.ended({ prediction, model: "m", keys: KEYS }, { ...end, ...usage });
    expect(matched()).toBe(5);
  });

  it("knows the tokens of keys that are of tokens", () => {
    const fixture = new Fixture(8);
    fixture.isOfTokens = true;
    fixture.tell(3, 2);
    fixture.answer();
    expect(fixture.knowledge.predictionFor(KEYS, 0)).toMatchObject({ blocks: 5, tokens: 320 });
  });

  it("believes what was just sent there, and tells it in tokens when they are known", () => {
    const fixture = new Fixture(0);
    fixture.tell(3, 2);
    fixture.speculate();
    const { knowledge } = fixture;
    knowledge.picked(KEYS, { slots: Int32Array.of(0) });
    fixture.answer();
    const prediction = knowledge.predictionFor(KEYS, 0)!;
    expect(prediction).toMatchObject({ blocks: KEYS.length / 2, tokens: null });
    const end = { slot: 0, isPromptCached: true, ttftMs: 1, failedCount: 0 };
    const usage = { promptTokens: 1_280, cachedTokens: 1_270 };
    const ended = (keys: Uint32Array | null) =>
      knowledge.ended({ prediction, model: "m", keys }, { ...end, ...usage });
    expect([ended(KEYS), ended(null)]).toEqual([undefined, undefined]);
    expect(knowledge.predictionCounts.skipped.unknown).toBe(2);
    // A number that was there already: it is asked for again, and then told.
    for (let times = 0; times < 2; times++) fixture.tell(KEYS.length / 2, 0);
    expect(ended(KEYS)).toBe(64 * (KEYS.length / 2));
  });

  it("wants prompts to be learned from until a collector is there that follows nobody", () => {
    const { knowledge, ...fixture } = new Fixture(0);
    // Engines cache what is served before the first collector has come back.
    expect(knowledge.wantsContent).toBe(true);
    knowledge.heard("c");
    expect(knowledge.wantsContent).toBe(false);
    knowledge.offered("c", { whole: [], partial: [endpoint(1)] });
    expect(knowledge.wantsContent).toBe(true);
    expect(fixture.told).toHaveLength(1);
  });
});
