import { describe, expect, it } from "vitest";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import type { DecisionResult } from "../../../src/scheduler/decisions/record.ts";
import {
  parseReplayable,
  type ReplayableAttempt,
} from "../../../src/scheduler/decisions/replay-document.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { WHAT_IF_LIMITS, WhatIf } from "../../../src/scheduler/what-if/what-if.ts";
import { inferenceRequest } from "../support/pick-context.ts";
import { profileConfig } from "../support/profile-config.ts";
import { promptKeys, TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

const BY_PREFIX = profileConfig({ scorers: [{ type: "prefix-cache-scorer" }] });
const BY_QUEUE = profileConfig({ scorers: [{ type: "queue-scorer" }] });
const PROMPT = "a prompt that one endpoint holds ".repeat(100);
const BLOCKS = promptKeys(PROMPT).length / 2;
const PROMPT_TOKENS = BLOCKS * CONTENT_BLOCK_TOKENS + 7;

/** Endpoint 0 holds the prompt and is busier than endpoint 1. */
function unevenPool(config = BY_PREFIX): TestPool {
  const pool = new TestPool(2, config);
  pool.sampleAll({ 0: { waiting: 3 } });
  pool.prefix.learn(promptKeys(PROMPT), 0, 0);
  return pool;
}

function decided(pool: TestPool, ttftMs: number | null = null): ReplayableAttempt {
  const ring = new DecisionRing();
  const keys = promptKeys(PROMPT);
  const request = inferenceRequest({ keys, promptTokens: PROMPT_TOKENS });
  recordPick(pool, PROMPT, { ring, request });
  const endpoint = ring.find("request-1")[0]!.candidates[0]!.endpoint.address;
  const result: DecisionResult = {
    endpoint,
    outcome: "ok",
    ttftMs,
    promptTokens: null,
    cachedTokens: null,
    predictedTokens: null,
    completionTokens: null,
  };
  ring.settle("request-1", 0, result);
  const text = JSON.stringify(explain("pool-a", ring.find("request-1")));
  const parsed = parseReplayable(JSON.parse(text));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.attempts[0]!;
}

describe("WhatIf", () => {
  it("finds no difference between a configuration and itself", () => {
    const whatIf = new WhatIf("pool-a", BY_PREFIX);
    for (let i = 0; i < 3; i++) whatIf.add(`r${i}`, decided(unevenPool()));
    expect(whatIf.report()).toMatchObject({
      decisions: 3,
      disagreements: 0,
      examples: [],
      verdict: "equal",
      promptTokens: 3 * PROMPT_TOKENS,
      hitTokens: { before: 3 * BLOCKS * CONTENT_BLOCK_TOKENS },
    });
  });

  it("says where another chooses otherwise, and that it loses the cache", () => {
    const whatIf = new WhatIf("pool-a", BY_QUEUE);
    whatIf.add("r", decided(unevenPool()));
    const report = whatIf.report();
    expect(report).toMatchObject({
      verdict: "worse",
      disagreements: 1,
      examples: [{ requestId: "r", before: "10.0.0.0:8000", after: "10.0.0.1:8000" }],
      hitTokens: { before: BLOCKS * CONTENT_BLOCK_TOKENS, after: 0 },
    });
    expect(report.ttftP50Ms.after).toBeGreaterThan(report.ttftP50Ms.before);
    expect(report.reasons.join()).toContain("lose their cache");
  });

  it("finds the other way round better", () => {
    const whatIf = new WhatIf("pool-a", BY_PREFIX);
    whatIf.add("r", decided(unevenPool(BY_QUEUE)));
    expect(whatIf.report()).toMatchObject({ verdict: "better", disagreements: 1 });
  });

  it("measures its prediction by what was measured of the endpoint that was chosen", () => {
    const whatIf = new WhatIf("pool-a", BY_PREFIX);
    whatIf.add("a", decided(unevenPool(), 150));
    whatIf.add("b", decided(unevenPool(), null));
    // Chosen is the other endpoint, so this result is not of the choice.
    whatIf.add("c", decided(unevenPool(BY_QUEUE), 150));
    const { calibration, ttftP50Ms } = whatIf.report();
    expect(calibration).toMatchObject({ decisions: 1, measuredP50Ms: 150 });
    expect(calibration.errorP50Ms).toBeCloseTo(Math.abs(150 - calibration.predictedP50Ms!));
    expect(ttftP50Ms.before).toBeGreaterThan(0);
  });

  it("says how uneven requests are spread", () => {
    const whatIf = new WhatIf("pool-a", BY_QUEUE);
    for (const waiting of [0, 9]) {
      const pool = new TestPool(2, BY_PREFIX);
      pool.sampleAll({ 0: { waiting }, 1: { waiting: 5 } });
      pool.prefix.learn(promptKeys(PROMPT), 0, 0);
      whatIf.add("r", decided(pool));
    }
    expect(whatIf.report().imbalance).toEqual({ before: 2, after: 1 });
  });

  it("counts requests that only one of the two refuses", () => {
    const whatIf = new WhatIf("pool-a", BY_QUEUE);
    const attempt = decided(unevenPool());
    const dropped = { reason: "rejected-saturated", detail: "full" };
    whatIf.add("r", { ...attempt, chosen: [], dropped });
    const { refused, disagreements, examples } = whatIf.report();
    expect(refused).toEqual({ before: 1, after: 0 });
    expect(disagreements).toBe(1);
    expect(examples[0]).toMatchObject({ before: null, after: "10.0.0.1:8000" });
  });

  it("says by which versions of the configuration was decided", () => {
    const whatIf = new WhatIf("pool-a", BY_QUEUE);
    const attempt = decided(unevenPool());
    for (const configVersion of [7, 5, 6]) whatIf.add("r", { ...attempt, configVersion });
    expect(whatIf.report().configVersions).toEqual({ oldest: 5, newest: 7 });
  });

  it("takes the time of a refused request as infinite", () => {
    const whatIf = new WhatIf("pool-a", BY_QUEUE);
    const attempt = decided(unevenPool());
    const dropped = { reason: "rejected-saturated", detail: "full" };
    for (let i = 0; i < 9; i++) whatIf.add(`r${i}`, attempt);
    whatIf.add("refused", { ...attempt, chosen: [], dropped });
    const { ttftP50Ms, ttftP90Ms } = whatIf.report();
    expect(ttftP50Ms.before).toBeLessThan(Infinity);
    expect(ttftP90Ms.before).toBe(Infinity);
    expect(ttftP90Ms.after).toBeLessThan(Infinity);
  });

  it("keeps a few examples, and says what is not known", () => {
    const whatIf = new WhatIf("pool-a", profileConfig());
    const attempt = decided(unevenPool(BY_QUEUE));
    for (let i = 0; i < 10; i++) whatIf.add(`r${i}`, attempt);
    const { examples, disagreements, notes } = whatIf.report();
    expect(disagreements).toBe(10);
    expect(examples).toHaveLength(WHAT_IF_LIMITS.examplesMax);
    expect(notes).toEqual([
      { text: expect.stringContaining("no-hit-lru-scorer learns from picks"), decisions: 10 },
    ]);
  });

  it("has nothing to say without decisions", () => {
    const report = new WhatIf("pool-a", BY_QUEUE).report();
    expect(report).toMatchObject({ decisions: 0, verdict: "unknown", oldestAtMs: null });
  });
});
