import { describe, expect, it } from "vitest";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";
import { Engine, type EngineConfig } from "../../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../../src/agents/simulator/model/sequence.ts";
import {
  type SequenceRequest,
  TokenContent,
} from "../../../../src/agents/simulator/model/token-content.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

const HASHER = createFnvHasher("m", "");
const NONE = { meanMs: 0, stdDevMs: 0 };

// 30 ms and 0.25 ms a token for a prompt, then 12 ms a token.
const CONFIG: EngineConfig = {
  blockSize: 16,
  blockCount: 64,
  sequencesMax: 4,
  waitingMax: 100,
  batchedTokensMax: 2_048,
  modelLengthMax: 1_024,
  leaseMs: 1_000,
  timing: {
    calculator: "per-token",
    timeToFirstToken: NONE,
    interTokenLatency: { meanMs: 12, stdDevMs: 0 },
    prefillOverheadMs: 30,
    prefillMsPerToken: 0.25,
    prefillStdDevMs: 0,
    timeFactorUnderLoad: 1,
    sequencesMax: 4,
  },
};

interface Told {
  readonly what: string;
  readonly atMs: number;
  readonly tokenCount?: number;
}

function createEngine(changes: Partial<EngineConfig> = {}, isToldOfTokens = true) {
  const told: Told[] = [];
  const stored: bigint[] = [];
  const engine = new Engine(
    { ...CONFIG, ...changes },
    {
      scheduled: (_, atMs) => told.push({ what: "scheduled", atMs }),
      ...(isToldOfTokens ? { token: () => {} } : {}),
      firstToken: (_, atMs) => told.push({ what: "first token", atMs }),
      finished: ({ failure }, atMs) => told.push({ what: failure ?? "finished", atMs }),
      transferBegan: (_, tokenCount, atMs) => told.push({ what: "transfer", atMs, tokenCount }),
      leaseExpired: (_, atMs) => told.push({ what: "expired", atMs }),
      preempted: () => {},
      stepped: () => {},
      stored: (hash) => stored.push(hash),
      removed: () => {},
    },
    createRng(1),
  );
  const submit = (request: SequenceRequest, nowMs: number) =>
    engine.submit(new TokenContent(request, HASHER, engine.config.blockSize), nowMs)!;
  return { engine, submit, told, stored };
}

const prompt = (count: number, more: Partial<SequenceRequest> = {}, from = 0): SequenceRequest => ({
  promptTokenIds: Uint32Array.from({ length: count }, (_, i) => from + i),
  outputTokenIds: Uint32Array.from({ length: 1 }, () => 1_000_000),
  ...more,
});

const held = (count: number, from = 0) => prompt(count, { isHeld: true }, from);
const remote = (count: number, from = 0) => prompt(count, { isRemote: true }, from);

function blocksOf(sequence: Sequence): number {
  return sequence.blocks.length;
}

describe("a prefiller", () => {
  it("holds the blocks of its prompt after the end, until they were read", () => {
    const { engine, submit } = createEngine();
    const sequence = submit(held(100), 0);
    engine.advance(100);
    expect(sequence.generatedCount).toBe(1);
    expect(engine.heldCount).toBe(1);
    expect(blocksOf(sequence)).toBe(7);
    expect(engine.cache.inUseCount).toBe(7);
    expect(engine.release(sequence, 200)).toBe(true);
    expect(engine.cache.inUseCount).toBe(0);
    expect(engine.release(sequence, 201)).toBe(false);
    // What was computed can still be found.
    expect(engine.cache.findableCount).toBe(6);
  });

  it("frees them when nobody comes within the lease", () => {
    const { engine, submit, told } = createEngine();
    const sequence = submit(held(40), 0);
    engine.advance(40);
    expect(engine.nextEventAtMs()).toBe(1_040);
    engine.advance(1_039);
    expect(engine.cache.inUseCount).toBe(3);
    engine.advance(1_040);
    expect(engine.cache.inUseCount).toBe(0);
    expect(told.at(-1)).toEqual({ what: "expired", atMs: 1_040 });
    expect(engine.renew(sequence, 1_041)).toBe(false);
    expect(engine.nextEventAtMs()).toBe(Infinity);
  });

  it("holds them for longer when it is asked to", () => {
    const { engine, submit } = createEngine();
    const sequence = submit(held(40), 0);
    engine.advance(40);
    expect(engine.renew(sequence, 900)).toBe(true);
    engine.advance(1_899);
    expect(engine.heldCount).toBe(1);
    engine.advance(1_900);
    expect(engine.heldCount).toBe(0);
  });

  it("lets wait whoever needs blocks that are held, and goes on when the lease ends", () => {
    const { engine, submit } = createEngine();
    submit(held(1_000), 0);
    engine.advance(300);
    const next = submit(prompt(500, {}, 5_000), 400);
    engine.advance(1_200);
    expect(next.firstScheduledAtMs).toBeUndefined();
    expect(engine.waitingCount).toBe(1);
    engine.advance(1_280);
    expect(next.firstScheduledAtMs).toBe(1_280);
  });

  it("holds nothing of a request that was aborted", () => {
    const { engine, submit } = createEngine();
    const sequence = submit(held(100), 0);
    engine.abort(sequence, 10);
    engine.advance(10_000);
    expect(engine.heldCount).toBe(0);
    expect(engine.cache.inUseCount).toBe(0);
  });
});

describe("a decoder", () => {
  it("takes blocks, waits until they are filled, and computes one token", () => {
    const { engine, submit, told, stored } = createEngine();
    const sequence = submit(remote(100), 0);
    expect(told).toEqual([{ what: "transfer", atMs: 0, tokenCount: 100 }]);
    expect(engine.cache.inUseCount).toBe(7);
    expect(stored).toEqual([]);
    expect(engine.runningCount).toBe(0);
    expect(engine.waitingCount).toBe(1);
    engine.advance(500);
    expect(engine.received(sequence, 500)).toBe(true);
    expect(stored).toHaveLength(6);
    expect(sequence.cachedCount).toBe(99);
    engine.advance(512);
    expect(sequence.firstTokenAtMs).toBe(512);
    expect(engine.cache.inUseCount).toBe(0);
    expect(engine.received(sequence, 513)).toBe(false);
  });

  it("reads only what it does not have", () => {
    const { engine, submit, told } = createEngine();
    submit(prompt(64), 0);
    engine.advance(100);
    told.length = 0;
    submit(remote(100), 200);
    expect(told).toEqual([{ what: "transfer", atMs: 200, tokenCount: 36 }]);
  });

  it("tells of the first token also where it is not told of each", () => {
    const { engine, submit, told } = createEngine({}, false);
    const sequence = submit(prompt(100, { isRemote: true, outputTokenIds: new Uint32Array(5) }), 0);
    engine.received(sequence, 50);
    engine.advance(1_000);
    expect(told.map(({ what, atMs }) => `${what} ${atMs}`)).toEqual([
      "transfer 0",
      "scheduled 50",
      "first token 62",
      "finished 110",
    ]);
  });

  it("computes the prompt itself where it cannot be read", () => {
    const { engine, submit } = createEngine();
    const sequence = submit(remote(100), 0);
    expect(engine.notReceived(sequence, "recompute", 40)).toBe(true);
    engine.advance(95);
    expect(sequence.firstTokenAtMs).toBe(95);
    expect(sequence.cachedCount).toBe(0);
    expect(sequence.receivedCount).toBe(0);
  });

  it("fails instead, where it was told to", () => {
    const { engine, submit, told } = createEngine();
    const sequence = submit(remote(100), 0);
    engine.notReceived(sequence, "fail", 40);
    expect(sequence.failure).toBe("kv-load");
    expect(told.at(-1)).toEqual({ what: "kv-load", atMs: 40 });
    expect(engine.cache.inUseCount).toBe(0);
    expect(engine.waitingCount).toBe(0);
  });

  it("frees the blocks when the request is aborted, and lets in who waited for them", () => {
    const { engine, submit } = createEngine();
    const first = submit(remote(1_000), 0);
    const second = submit(prompt(500, {}, 5_000), 10);
    engine.advance(100);
    expect(second.firstScheduledAtMs).toBeUndefined();
    expect(engine.abort(first, 200)).toBe(true);
    expect(second.firstScheduledAtMs).toBe(200);
    expect(engine.received(first, 300)).toBe(false);
  });

  it("lets no more wait than may run", () => {
    const { engine, submit } = createEngine();
    for (let i = 0; i < 5; i++) submit(remote(16, i * 100), 0);
    expect(engine.cache.inUseCount).toBe(4);
    expect(engine.waitingCount).toBe(5);
  });
});

describe("a threshold", () => {
  it("ends a request of which too little is cached", () => {
    const { engine, submit, told } = createEngine();
    submit(prompt(64), 0);
    engine.advance(100);
    const enough = submit(prompt(96, { cacheHitThreshold: 0.6 }), 200);
    engine.advance(1_000);
    expect(enough.failure).toBeUndefined();
    expect(enough.generatedCount).toBe(1);
    const tooLittle = submit(prompt(200, { cacheHitThreshold: 0.6 }), 2_000);
    expect(tooLittle.failure).toBe("cache-threshold");
    expect(told.at(-1)).toEqual({ what: "cache-threshold", atMs: 2_000 });
    expect(engine.cache.inUseCount).toBe(0);
  });
});
