// A decision that may split a request: what its record keeps of why, and of what became of it.

import { describe, expect, it } from "vitest";
import { DISAGGREGATED_CONFIG } from "../../../src/scheduler/config/disaggregated-config.ts";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { RECORD_BYTES_MAX } from "../../../src/scheduler/decisions/layout.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { copyVerdicts, VERDICT_INTS_MAX } from "../../../src/scheduler/decisions/verdicts.ts";
import { SCORE_TERMS_MAX } from "../../../src/scheduler/plugin.ts";
import { inferenceRequest, NOW_MS } from "../support/pick-context.ts";
import { promptKeys, TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

const PROMPT = "A long story about caches and queues. ".repeat(1_000);

/** Slots 0 and 1 prefill, 2 and 3 decode; `running` requests on those. */
function disaggregated(running: number): TestPool {
  const { plugins, schedulingProfiles } = DISAGGREGATED_CONFIG;
  const scheduler = { plugins: [...plugins, { type: "p2p-source-producer" }], schedulingProfiles };
  const pool = new TestPool(0, schedulerConfigSchema.parse(scheduler));
  ["prefill", "prefill", "decode", "decode"].forEach((role, n) => {
    const labels = { "llm-d.ai/role": role };
    pool.table.add({ id: `default/e${n}`, address: `10.0.0.${n}:8000`, engine: "vllm", labels });
  });
  pool.sampleAll();
  for (const slot of [2, 3]) pool.table.applySample(slot, { waiting: 0, running }, NOW_MS);
  return pool;
}

function record(pool: TestPool, ring = new DecisionRing()) {
  const keys = promptKeys(PROMPT);
  const promptTokens = Math.ceil(PROMPT.length / 4);
  const request = inferenceRequest({ requestId: "request-1", keys, promptTokens });
  return recordPick(pool, PROMPT, { request, ring })!;
}

const attemptOf = (...[pool, ring]: Parameters<typeof record>) =>
  explain("pool-a", [record(pool, ring)])!.attempts[0]!;

describe("verdicts", () => {
  it.for([
    { running: 0, isApart: false },
    { running: 8, isApart: true },
  ])("are kept with both sides' milliseconds: $isApart", ({ running, isApart }) => {
    const { verdicts } = attemptOf(disaggregated(running));
    expect(verdicts).toEqual([{ stage: "prefill", isApart, terms: expect.anything() as object }]);
    const { localMs, disturbedMs, splitMs, transferMs } = verdicts![0]!.terms;
    expect(splitMs! + 20 < localMs! + disturbedMs!).toBe(isApart);
    expect(transferMs).toBeGreaterThan(40);
  });

  it("of numbers that are not there are null", () => {
    const pool = disaggregated(8);
    for (const slot of [2, 3]) pool.prefix.learn(promptKeys(PROMPT), slot, 0);
    expect(attemptOf(pool).verdicts![0]!.terms["splitMs"]).toBeNull();
  });

  it("are those of the decision, also of one that is refused", () => {
    const pool = disaggregated(8);
    const ring = new DecisionRing();
    const recorder = new DecisionRecorder(ring);
    const first = recordPick(pool, PROMPT, { ring, recorder, requestId: "request-1" })!;
    expect(first.verdicts).toHaveLength(1);
    const refused = recordPick(pool, PROMPT, {
      ring,
      recorder,
      requestId: "request-2",
      exclude: [2, 3],
    })!;
    expect(refused).toMatchObject({ verdicts: [], dropped: { reason: "rejected-saturated" } });
  });

  it("are not there where nobody was asked", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    expect(explain("p", [recordPick(pool, PROMPT)!])!.attempts[0]).not.toHaveProperty("verdicts");
  });

  it("are the same when the decision is taken again", () => {
    const written = { requestId: "request-1", pool: "p", attempts: [attemptOf(disaggregated(8))] };
    const parsed = parseReplayable(JSON.parse(JSON.stringify(written)));
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    const { isSame, replayed } = replayAttempt(parsed.value.attempts[0]!);
    expect(isSame).toBe(true);
    expect(replayed.verdicts).toEqual(written.attempts[0]!.verdicts);
  });

  it("fit a record, however many parts they have", () => {
    const names = Array.from({ length: SCORE_TERMS_MAX + 5 }, (_, i) => `t${i}`);
    const terms = { names, values: new Float64Array(names.length) };
    const seen = copyVerdicts(
      Array.from({ length: 4 }, () => ({ stage: "encode", isApart: true, terms }) as const),
    );
    expect(seen).toHaveLength(2);
    for (const verdict of seen) expect(verdict.terms).toHaveLength(SCORE_TERMS_MAX);
    expect(RECORD_BYTES_MAX).toBeGreaterThan(4 * VERDICT_INTS_MAX);
  });
});

describe("the source of blocks", () => {
  it("is kept where copying saves something", () => {
    const pool = disaggregated(0);
    expect(attemptOf(pool)).not.toHaveProperty("kvSource");
    // Too busy to prefill: who decodes computes the prompt, or copies.
    const prompt = { promptTokens: 90_000, uncachedTokens: 90_000 };
    pool.table.dispatched(0, 90_000, NOW_MS, prompt);
    pool.prefix.learn(promptKeys(PROMPT), 0, 0);
    expect(attemptOf(pool)).toMatchObject({ kvSource: "10.0.0.0:8000" });
  });
});

describe("what became of a prefill", () => {
  const RESULT = {
    endpoint: "10.0.0.2:8000",
    outcome: "ok",
    ttftMs: 900,
    promptTokens: 9_500,
    cachedTokens: 0,
    completionTokens: 5,
    predictedTokens: null,
  };

  it.for([
    { isDecodeOnly: false, isStranded: false, endpoint: "10.0.0.1:8000", failedCount: 0 },
    { isDecodeOnly: true, isStranded: false, endpoint: null, failedCount: 2 },
    { isDecodeOnly: false, isStranded: true, endpoint: "10.0.0.1:8000", failedCount: 1 },
  ])("is told: %o", (facts) => {
    const ring = new DecisionRing();
    record(disaggregated(8), ring);
    const prefill = { outcome: "timeout", prefillMs: 700.5, ...facts };
    ring.settle("request-1", 0, { ...RESULT, prefill });
    expect(ring.find("request-1")[0]!.result).toEqual({ ...RESULT, prefill });
  });

  it("is absent where the relay says nothing", () => {
    const ring = new DecisionRing();
    record(disaggregated(8), ring);
    ring.settle("request-1", 0, RESULT);
    expect(ring.find("request-1")[0]!.result).toEqual(RESULT);
  });
});
