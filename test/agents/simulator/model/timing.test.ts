import { describe, expect, it } from "vitest";
import {
  drawMs,
  loadFactor,
  stepMs,
  type TimingConfig,
} from "../../../../src/agents/simulator/model/timing.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

const NONE = { meanMs: 0, stdDevMs: 0 };

// The 8B-H100 profile of llm-d-inference-sim, without jitter.
const PER_TOKEN: TimingConfig = {
  calculator: "per-token",
  timeToFirstToken: NONE,
  interTokenLatency: { meanMs: 12, stdDevMs: 0 },
  prefillOverheadMs: 30,
  prefillMsPerToken: 0.25,
  prefillStdDevMs: 0,
  timeFactorUnderLoad: 2,
  sequencesMax: 5,
};

const CONSTANT: TimingConfig = {
  ...PER_TOKEN,
  calculator: "constant",
  timeToFirstToken: { meanMs: 100, stdDevMs: 0 },
};

const ROOFLINE: TimingConfig = {
  ...PER_TOKEN,
  calculator: "roofline",
  roofline: { stepMs: 20, decodeMsPerSequence: 0.5, decodeMsPerContextToken: 0.01 },
};

const whole = (tokens: number) => ({ tokens, tokensOfPrompt: tokens, isFirst: true });
const rng = () => 0.5;

describe("loadFactor", () => {
  it.for([
    { name: "1 for one sequence", running: 1, sequencesMax: 5, expected: 1 },
    { name: "the whole factor when full", running: 5, sequencesMax: 5, expected: 2 },
    { name: "in between", running: 3, sequencesMax: 5, expected: 1.5 },
    { name: "1 when only one may run", running: 1, sequencesMax: 1, expected: 1 },
  ])("$name", ({ running, sequencesMax, expected }) => {
    expect(loadFactor({ ...PER_TOKEN, sequencesMax }, running)).toBe(expected);
  });
});

describe("stepMs", () => {
  it.for([
    {
      name: "256 tokens, none cached, alone: 30 + 256/4",
      config: PER_TOKEN,
      work: { prefill: [whole(256)], decodeCount: 0, contextTokens: 0, runningCount: 1 },
      expected: 94,
    },
    {
      name: "128 of 256 cached, five running: twice 30 + 128/4",
      config: PER_TOKEN,
      work: { prefill: [whole(128)], decodeCount: 4, contextTokens: 0, runningCount: 5 },
      expected: 124,
    },
    {
      name: "two prompts in one step share its compute and its overhead",
      config: PER_TOKEN,
      work: {
        prefill: [whole(100), whole(100)],
        decodeCount: 0,
        contextTokens: 0,
        runningCount: 1,
      },
      expected: 80,
    },
    {
      name: "a later chunk pays no overhead",
      config: PER_TOKEN,
      work: {
        prefill: [{ tokens: 100, tokensOfPrompt: 200, isFirst: false }],
        decodeCount: 0,
        contextTokens: 0,
        runningCount: 1,
      },
      expected: 25,
    },
    {
      name: "decoding alone",
      config: PER_TOKEN,
      work: { prefill: [], decodeCount: 3, contextTokens: 0, runningCount: 1 },
      expected: 12,
    },
    {
      name: "the slower of prefill and decode decides",
      config: { ...PER_TOKEN, prefillOverheadMs: 1 },
      work: { prefill: [whole(4)], decodeCount: 1, contextTokens: 0, runningCount: 1 },
      expected: 12,
    },
    {
      name: "constant: any prompt takes as long",
      config: CONSTANT,
      work: {
        prefill: [whole(10), whole(2000)],
        decodeCount: 0,
        contextTokens: 0,
        runningCount: 1,
      },
      expected: 100,
    },
    {
      name: "constant: a quarter of a prompt takes a quarter",
      config: CONSTANT,
      work: {
        prefill: [{ tokens: 50, tokensOfPrompt: 200, isFirst: true }],
        decodeCount: 0,
        contextTokens: 0,
        runningCount: 1,
      },
      expected: 25,
    },
    {
      name: "roofline: 20 + 2 decodes at 0.5 + 1000 tokens of context at 0.01 + 100 of prefill at 0.25",
      config: ROOFLINE,
      work: {
        prefill: [whole(40), whole(60)],
        decodeCount: 2,
        contextTokens: 1_000,
        runningCount: 4,
      },
      expected: 56,
    },
  ])("$name", ({ config, work, expected }) => {
    expect(stepMs(config, work, rng)).toBe(expected);
  });
});

describe("drawMs", () => {
  it.for([
    { name: "256 tokens at 3 µs are less than a millisecond", meanMs: 256 * 0.003, expected: 0 },
    { name: "a fraction is cut off", meanMs: 12.9, expected: 12 },
  ])("$name", ({ meanMs, expected }) => {
    expect(drawMs({ meanMs, stdDevMs: 0 }, rng)).toBe(expected);
  });

  it("stays within 0.3 and 1.7 of the mean, in whole milliseconds, around it", () => {
    const random = createRng(1);
    const draws = Array.from({ length: 5_000 }, () =>
      drawMs({ meanMs: 100, stdDevMs: 60 }, random),
    );
    expect(Math.min(...draws)).toBe(30);
    expect(Math.max(...draws)).toBe(170);
    expect(draws.every(Number.isInteger)).toBe(true);
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    expect(Math.abs(mean - 100)).toBeLessThan(3);
  });
});
