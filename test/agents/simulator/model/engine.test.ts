import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";
import {
  Engine,
  STEPS_PER_ADVANCE_MAX,
  type EngineConfig,
} from "../../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../../src/agents/simulator/model/sequence.ts";
import {
  type SequenceRequest,
  TokenContent,
} from "../../../../src/agents/simulator/model/token-content.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

const HASHER = createFnvHasher("m", "");
const NONE = { meanMs: 0, stdDevMs: 0 };

// The 8B-H100 profile without jitter: 30 ms + 0.25 ms a token, then 12 ms a token.
const CONFIG: EngineConfig = {
  blockSize: 16,
  blockCount: 256,
  sequencesMax: 5,
  waitingMax: 100,
  batchedTokensMax: 2_048,
  modelLengthMax: 4_096,
  timing: {
    calculator: "per-token",
    timeToFirstToken: NONE,
    interTokenLatency: { meanMs: 12, stdDevMs: 0 },
    prefillOverheadMs: 30,
    prefillMsPerToken: 0.25,
    prefillStdDevMs: 0,
    timeFactorUnderLoad: 2,
    sequencesMax: 5,
  },
};

function createEngine(changes: Partial<EngineConfig> = {}) {
  const tokenTimes = new Map<Sequence, number[]>();
  const finished: Sequence[] = [];
  const preempted: Sequence[] = [];
  const steps: number[] = [];
  const engine = new Engine(
    { ...CONFIG, ...changes },
    {
      scheduled: () => {},
      token: (sequence, atMs) => {
        tokenTimes.set(sequence, [...(tokenTimes.get(sequence) ?? []), atMs]);
      },
      finished: (sequence) => finished.push(sequence),
      preempted: (sequence) => preempted.push(sequence),
      stepped: (tokenCount) => steps.push(tokenCount),
      stored: () => {},
      removed: () => {},
    },
    createRng(1),
  );
  const submit = (request: SequenceRequest, nowMs: number) =>
    engine.submit(new TokenContent(request, HASHER, engine.config.blockSize), nowMs);
  return { engine, submit, tokenTimes, finished, preempted, steps };
}

/** Tokens nobody else has. */
const tokens = (count: number, from = 0) => Uint32Array.from({ length: count }, (_, i) => from + i);

const prompt = (count: number, output = 1, from = 0) => ({
  promptTokenIds: tokens(count, from),
  outputTokenIds: tokens(output, 1_000_000 + from),
});

/** Lets virtual time run until nothing is left to do. */
function drain(engine: Engine): number {
  let atMs = 0;
  for (let events = 0; engine.nextEventAtMs() !== Infinity; events++) {
    expect(events).toBeLessThan(100_000);
    atMs = engine.nextEventAtMs();
    engine.advance(atMs);
  }
  return atMs;
}

const ttftMs = (sequence: Sequence) => sequence.firstTokenAtMs! - sequence.arrivedAtMs;

describe("timing", () => {
  it("256 tokens alone take 94 ms, and 11 tokens of answer 120 ms more", () => {
    const { engine, submit, tokenTimes } = createEngine();
    const sequence = submit(prompt(256, 11), 1_000)!;
    drain(engine);
    expect(tokenTimes.get(sequence)![0]).toBe(1_094);
    expect(tokenTimes.get(sequence)!.at(-1)).toBe(1_094 + 120);
    expect(tokenTimes.get(sequence)).toHaveLength(11);
  });

  it("128 of 256 tokens cached with five running take 124 ms", () => {
    const { engine, submit } = createEngine();
    submit(prompt(128), 0);
    let atMs = drain(engine);
    for (let i = 1; i <= 4; i++) submit(prompt(16, 200, i * 10_000), atMs);
    for (let i = 0; i < 20; i++) engine.advance((atMs = engine.nextEventAtMs()));
    const sequence = submit(prompt(256), atMs)!;
    drain(engine);
    expect(sequence.cachedCount).toBe(128);
    expect(sequence.firstTokenAtMs! - sequence.firstScheduledAtMs!).toBe(124);
  });

  it("a prefix hit shortens the time to the first token by what it spares", () => {
    const { engine, submit } = createEngine();
    const cold = submit(prompt(1_024), 0)!;
    const warmAtMs = drain(engine);
    const warm = submit(prompt(1_024), warmAtMs)!;
    drain(engine);
    expect(cold.cachedCount).toBe(0);
    expect(warm.cachedCount).toBe(1_008);
    expect(ttftMs(cold)).toBe(30 + 256);
    expect(ttftMs(warm)).toBe(30 + 4);
  });

  it("a prompt longer than the step's budget is computed in chunks, with others in between", () => {
    const { engine, submit, steps, tokenTimes } = createEngine({ batchedTokensMax: 512 });
    const decoding = submit(prompt(16, 20, 50_000), 0)!;
    engine.advance(engine.nextEventAtMs());
    const long = submit(prompt(1_500), engine.nextEventAtMs() - 1)!;
    drain(engine);
    expect(steps.slice(0, 6)).toEqual([16, 1, 512, 512, 1 + 478, 1]);
    expect(tokenTimes.get(decoding)).toHaveLength(20);
    expect(long.firstTokenAtMs).toBeGreaterThan(tokenTimes.get(decoding)![3]!);
  });

  it("the same seed gives the same times", () => {
    const timing = {
      ...CONFIG.timing,
      interTokenLatency: { meanMs: 12, stdDevMs: 3 },
      prefillStdDevMs: 5,
    };
    const run = () => {
      const { engine, submit, tokenTimes } = createEngine({ timing });
      for (let i = 0; i < 8; i++) submit(prompt(100, 10, i * 1_000), 0);
      drain(engine);
      return [...tokenTimes.values()];
    };
    expect(run()).toEqual(run());
    expect(new Set(run().flat()).size).toBeGreaterThan(10);
  });
});

describe("queueing", () => {
  it("runs at most sequencesMax, lets the rest wait in order, and refuses past waitingMax", () => {
    const { engine, submit, finished } = createEngine({ sequencesMax: 2, waitingMax: 3 });
    const taken = Array.from({ length: 5 }, (_, i) => submit(prompt(32, 5, i * 100), 0));
    expect(taken).not.toContain(undefined);
    expect(engine.room).toBe(0);
    expect(submit(prompt(32), 0)).toBeUndefined();
    engine.advance(engine.nextEventAtMs());
    expect(engine.runningCount).toBe(2);
    expect(engine.waitingCount).toBe(3);
    drain(engine);
    expect(finished).toEqual(taken);
  });

  it("overload queues: the more that arrive at once, the later the last one begins", () => {
    const lastTtftMs = (count: number) => {
      const { engine, submit } = createEngine();
      const all = Array.from({ length: count }, (_, i) => submit(prompt(512, 20, i * 1_000), 0)!);
      drain(engine);
      return ttftMs(all.at(-1)!);
    };
    expect(lastTtftMs(20)).toBeGreaterThan(3 * lastTtftMs(5));
    expect(lastTtftMs(40)).toBeGreaterThan(1.8 * lastTtftMs(20));
  });

  it("does not admit a prompt that finds no blocks, and does when there are some again", () => {
    const { engine, submit } = createEngine({ blockCount: 20, modelLengthMax: 320 });
    const first = submit(prompt(200, 50), 0)!;
    const second = submit(prompt(200, 2, 5_000), 0)!;
    engine.advance(engine.nextEventAtMs());
    expect(engine.waitingCount).toBe(1);
    drain(engine);
    expect(second.firstScheduledAtMs).toBeGreaterThanOrEqual(first.lastTokenAtMs!);
  });

  it("preempts the latest when blocks run out, and computes it again before others begin", () => {
    const { engine, submit, preempted, finished, tokenTimes } = createEngine({
      blockCount: 20,
      modelLengthMax: 320,
      sequencesMax: 2,
    });
    const first = submit(prompt(100, 150), 0)!;
    const second = submit(prompt(100, 150, 5_000), 0)!;
    const third = submit(prompt(100, 1, 9_000), 0)!;
    drain(engine);
    expect(new Set(preempted)).toEqual(new Set([second]));
    expect(finished).toHaveLength(3);
    expect(third.firstScheduledAtMs).toBeGreaterThanOrEqual(first.lastTokenAtMs!);
    expect(tokenTimes.get(second)).toHaveLength(150);
    expect(engine.cache.inUseCount).toBe(0);
  });

  it("admits nobody in a step that preempts", () => {
    const { engine, submit, preempted } = createEngine({ blockCount: 20, modelLengthMax: 320 });
    submit(prompt(100, 150), 0);
    submit(prompt(100, 150, 5_000), 0);
    while (preempted.length === 0) engine.advance(engine.nextEventAtMs());
    expect(engine.runningCount).toBe(1);
    expect(engine.waitingCount).toBe(1);
  });

  it("waits for a sequence that arrives in the future", () => {
    const { engine, submit } = createEngine();
    submit(prompt(16), 0);
    const later = submit(prompt(16, 1, 9_000), 500)!;
    drain(engine);
    expect(later.firstScheduledAtMs).toBe(500);
  });
});

describe("abort", () => {
  it("frees the blocks at once", () => {
    const { engine, submit } = createEngine();
    const sequence = submit(prompt(320, 10), 0)!;
    expect(engine.cache.inUseCount).toBe(20);
    expect(engine.abort(sequence, 0)).toBe(true);
    expect(engine.cache.inUseCount).toBe(0);
    expect(engine.runningCount).toBe(0);
    expect(engine.abort(sequence, 0)).toBe(false);
  });

  it("takes a waiting sequence out of the queue", () => {
    const { engine, submit, finished } = createEngine({ sequencesMax: 1 });
    const first = submit(prompt(16, 3), 0)!;
    const second = submit(prompt(16, 3, 100), 0)!;
    const third = submit(prompt(16, 3, 200), 0)!;
    expect(engine.abort(second, 0)).toBe(true);
    drain(engine);
    expect(finished).toEqual([first, third]);
  });
});

describe("caching", () => {
  it("hits only whole blocks, and never the last token", () => {
    const { engine, submit } = createEngine();
    submit(prompt(64), 0);
    const atMs = drain(engine);
    const same = submit(prompt(64), atMs)!;
    const longer = submit(prompt(70), atMs)!;
    drain(engine);
    expect(same.cachedCount).toBe(48);
    expect(longer.cachedCount).toBe(64);
  });

  it("finds the blocks of an answer, too", () => {
    const { engine, submit } = createEngine();
    const request = prompt(40, 40);
    submit(request, 0);
    const atMs = drain(engine);
    const promptTokenIds = Uint32Array.from([
      ...request.promptTokenIds,
      ...request.outputTokenIds,
      1,
    ]);
    const next = submit({ ...prompt(1), promptTokenIds }, atMs)!;
    drain(engine);
    // 79 of the 80 were computed: the last token of an answer never is.
    expect(next.cachedCount).toBe(64);
  });

  it("keeps prompts with different salts apart", () => {
    const { engine, submit } = createEngine();
    submit({ ...prompt(64), cacheSalt: "a" }, 0);
    const atMs = drain(engine);
    const other = submit({ ...prompt(64), cacheSalt: "b" }, atMs)!;
    const same = submit({ ...prompt(64), cacheSalt: "a" }, atMs)!;
    drain(engine);
    expect(other.cachedCount).toBe(0);
    expect(same.cachedCount).toBe(48);
  });
});

describe("advance", () => {
  it("takes a bounded number of steps, even when steps take no time", () => {
    const timing = {
      ...CONFIG.timing,
      interTokenLatency: NONE,
      prefillOverheadMs: 0,
      prefillMsPerToken: 0,
    };
    const { engine, submit, tokenTimes } = createEngine({ timing });
    const sequence = submit(prompt(16, STEPS_PER_ADVANCE_MAX + 10), 0)!;
    engine.advance(0);
    expect(tokenTimes.get(sequence)).toHaveLength(STEPS_PER_ADVANCE_MAX);
    expect(engine.nextEventAtMs()).toBe(0);
    engine.advance(0);
    expect(tokenTimes.get(sequence)).toHaveLength(STEPS_PER_ADVANCE_MAX + 10);
    expect(engine.nextEventAtMs()).toBe(Infinity);
  });
});

it("whatever arrives and is aborted, every token comes once, in order, and all blocks return", () => {
  const arrivalArb = fc.record({
    afterMs: fc.integer({ min: 0, max: 300 }),
    promptCount: fc.integer({ min: 1, max: 120 }),
    outputCount: fc.integer({ min: 1, max: 40 }),
    family: fc.integer({ min: 0, max: 3 }),
    isAborted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(arrivalArb, { maxLength: 25 }), (arrivals) => {
      const { engine, submit, tokenTimes, finished, steps } = createEngine({
        blockCount: 24,
        modelLengthMax: 160,
        blockSize: 8,
        sequencesMax: 4,
        batchedTokensMax: 32,
      });
      let nowMs = 0;
      const kept: Sequence[] = [];
      for (const arrival of arrivals) {
        nowMs += arrival.afterMs;
        engine.advance(nowMs);
        const request = prompt(arrival.promptCount, arrival.outputCount, arrival.family * 1_000);
        const sequence = submit(request, nowMs)!;
        if (arrival.isAborted) engine.abort(sequence, nowMs);
        else kept.push(sequence);
        expect(engine.runningCount).toBeLessThanOrEqual(4);
      }
      drain(engine);
      expect(new Set(finished)).toEqual(new Set(kept));
      for (const sequence of kept) {
        const times = tokenTimes.get(sequence)!;
        expect(times).toHaveLength(sequence.outputCount);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        expect(sequence.firstScheduledAtMs).toBeGreaterThanOrEqual(sequence.arrivedAtMs);
        expect(sequence.cachedCount).toBeLessThan(sequence.promptCount);
      }
      expect(Math.max(0, ...steps)).toBeLessThanOrEqual(32);
      expect(engine.cache.inUseCount).toBe(0);
    }),
    { numRuns: 150 },
  );
});

it("gives the same whether or not somebody wants to be told of each token", () => {
  const arrivalArb = fc.record({
    afterMs: fc.integer({ min: 0, max: 2_000 }),
    promptCount: fc.integer({ min: 1, max: 120 }),
    outputCount: fc.integer({ min: 1, max: 60 }),
    family: fc.integer({ min: 0, max: 3 }),
    isAborted: fc.boolean(),
  });
  const timing: EngineConfig["timing"] = {
    ...CONFIG.timing,
    calculator: "roofline",
    roofline: { stepMs: 20, decodeMsPerSequence: 0.3, decodeMsPerContextToken: 0.07 },
  };
  fc.assert(
    fc.property(
      fc.array(arrivalArb, { maxLength: 25 }),
      fc.constantFrom(1, 4, 8),
      (arrivals, blockSize) => {
        const run = (isToldOfTokens: boolean) => {
          const events: string[] = [];
          const tell = (what: string) => (sequence: Sequence, atMs?: number) =>
            events.push(`${what} ${ids.get(sequence.content)} ${atMs ?? ""}`);
          const ids = new Map<unknown, number>();
          const engine = new Engine(
            { ...CONFIG, blockCount: 192 / blockSize, modelLengthMax: 180, blockSize, timing },
            {
              scheduled: tell("scheduled"),
              firstToken: tell("first"),
              ...(isToldOfTokens ? { token: () => {} } : {}),
              finished: tell("finished"),
              preempted: tell("preempted"),
              stepped: (tokenCount) => events.push(`stepped ${tokenCount}`),
              stored: (hash) => events.push(`+${hash}`),
              removed: (hash) => events.push(`-${hash}`),
            },
            createRng(1),
          );
          let nowMs = 0;
          arrivals.forEach(({ afterMs, promptCount, outputCount, family, isAborted }, i) => {
            nowMs += afterMs;
            engine.advance(nowMs);
            // Answers go on as prompts of the same family do, so that prompts find answers, too.
            const promptTokenIds = tokens(promptCount, family * 1_000);
            const outputTokenIds = tokens(outputCount, family * 1_000 + promptCount);
            const content = new TokenContent({ promptTokenIds, outputTokenIds }, HASHER, blockSize);
            ids.set(content, i);
            const sequence = engine.submit(content, nowMs)!;
            if (isAborted && i % 2 === 1) engine.abort(sequence, nowMs);
            else if (isAborted && engine.running.length > 0)
              engine.abort(engine.running[0]!, nowMs);
          });
          drain(engine);
          return events;
        };
        expect(run(false)).toEqual(run(true));
      },
    ),
    { numRuns: 300 },
  );
});

it("lets a prompt in as soon as an answer that it repeats fills the block it lacked", () => {
  const scheduledAtMs: number[] = [];
  const engine = new Engine(
    { ...CONFIG, blockSize: 8, blockCount: 5, modelLengthMax: 40 },
    {
      scheduled: (_, atMs) => scheduledAtMs.push(atMs),
      finished: () => {},
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      removed: () => {},
    },
    createRng(1),
  );
  const submit = (promptCount: number, outputCount: number, nowMs: number) => {
    const promptTokenIds = tokens(promptCount);
    const outputTokenIds = tokens(outputCount, promptCount);
    engine.submit(new TokenContent({ promptTokenIds, outputTokenIds }, HASHER, 8), nowMs);
  };
  submit(8, 24, 0);
  engine.advance(60);
  // Four blocks of five are missing and three are free, until the answer's first eight tokens are
  // computed: the prompt takes 32 ms, and a token 12.
  submit(33, 1, 60);
  drain(engine);
  expect(scheduledAtMs).toEqual([0, 32 + 7 * 12]);
});

it("settles the counts of sequences that nobody was told about", () => {
  const engine = new Engine(
    CONFIG,
    {
      scheduled: () => {},
      finished: () => {},
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      removed: () => {},
    },
    createRng(1),
  );
  const content = new TokenContent(prompt(16, 100), HASHER, CONFIG.blockSize);
  const sequence = engine.submit(content, 0)!;
  engine.advance(34 + 20 * 12);
  engine.settle();
  expect(sequence.generatedCount).toBe(21);
  expect(sequence.lastTokenAtMs).toBe(34 + 20 * 12);
});
