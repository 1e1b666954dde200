import { describe, expect, it } from "vitest";
import {
  type ExplainedAttempt,
  explanationSchema,
} from "../../../src/scheduler/decisions/document.ts";
import { explain, explainAll, explainAttempt } from "../../../src/scheduler/decisions/explain.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { NOW_MS } from "../support/pick-context.ts";
import { profileConfig } from "../support/profile-config.ts";
import { promptKeys, TestPool } from "../support/pool.ts";
import { recordPick, type RecordedOptions } from "../support/recorded.ts";

const PROMPT = "a prompt of some length ".repeat(50);

const DECIDED = {
  reason: "object-away",
  rttMs: null,
  snapshotAgeMs: null,
  credit: null,
  saturation: null,
  knownTokens: null,
  possibleTokens: null,
  gainMs: null,
};

/** The explanation of one pick, after a trip through JSON as on its way to the CLI. */
function explained(pool: TestPool, options: RecordedOptions = {}): ExplainedAttempt {
  const record = recordPick(pool, PROMPT, options)!;
  const text = JSON.stringify(explain("pool-a", [record]));
  return explanationSchema.parse(JSON.parse(text)).attempts[0]! as ExplainedAttempt;
}

const whyOf = (attempt: ExplainedAttempt) =>
  Object.fromEntries(attempt.candidates.map(({ id, why }) => [id.replace("default/", ""), why]));

describe("explainAll", () => {
  it("shows what an isolate has decided itself in the place of a grant that came too late", () => {
    const record = recordPick(new TestPool(2), PROMPT)!;
    const { requestId } = record;
    const recorded = explainAttempt(record);
    const decided = { ...DECIDED, where: "local" } as const;
    const local = [{ ...recorded, chosen: ["10.9.9.9:8000"], decided }];
    const known = { requestId, pool: "p", refused: undefined, pools: undefined };
    const consulted = () => ({ ...DECIDED, where: "consult" as const });
    const explainedWith = (others: object) =>
      explainAll({ ...known, decided: consulted, ...others }, [record])!.attempts;
    expect(explainedWith({ local })).toMatchObject([{ chosen: ["10.9.9.9:8000"], decided }]);
    expect(explainedWith({})).toMatchObject([
      { chosen: recorded.chosen, decided: { where: "consult" } },
    ]);
  });
});

describe("explain", () => {
  it("says nothing of a request without a record", () => {
    expect(explain("pool-a", [])).toBeUndefined();
  });

  it("says why each loser lost: the scorer that cost it most", () => {
    const pool = new TestPool(3);
    pool.sampleAll({ 1: { waiting: 8 }, 2: { kvUsage: 0.9 } });
    pool.prefix.learn(promptKeys(PROMPT), 0, 0);
    pool.prefix.learn(promptKeys(PROMPT), 1, 0);
    pool.prefix.learn(promptKeys(PROMPT), 2, 0);
    expect(whyOf(explained(pool))).toEqual({
      e0: "chosen",
      e1: "lost 2.00 on queue-scorer",
      e2: "lost 1.80 on kv-cache-utilization-scorer",
    });
  });

  it("ranks candidates and gives their numbers as they were seen", () => {
    const pool = new TestPool(2);
    pool.sampleAll({ 0: { waiting: 8, kvUsage: 0.5 } });
    pool.table.dispatched(0, 120, 0);
    pool.prefix.learn(promptKeys(PROMPT), 1, 0);
    const blocks = promptKeys(PROMPT).length / 2;
    expect(explained(pool, { nowMs: NOW_MS + 150 })).toMatchObject({
      totalBlocks: blocks,
      chosen: ["10.0.0.1:8000", "10.0.0.0:8000"],
      candidates: [
        { id: "default/e1", rank: 1, matchedBlocks: blocks, ageMs: 150, queueDepth: 0 },
        {
          id: "default/e0",
          rank: 2,
          matchedBlocks: 0,
          queueDepth: 9,
          kvUsage: 0.5,
          inFlightRequests: 1,
          inFlightTokens: 120,
          scores: { "queue-scorer": 0, "prefix-cache-scorer": 0 },
        },
      ],
    });
  });

  it("ranks those that were not chosen behind the chosen, by their totals", () => {
    const profile = { scorers: [{ type: "queue-scorer" }], picker: { type: "max-score-picker" } };
    const pool = new TestPool(4, profileConfig(profile));
    pool.sampleAll({ 0: { waiting: 3 }, 1: { waiting: 1 }, 2: { waiting: 2 } });
    const { chosen, candidates } = explained(pool);
    expect(chosen).toEqual(["10.0.0.3:8000"]);
    expect(candidates.map(({ queueDepth, rank }) => [queueDepth, rank])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
    ]);
  });

  it("says which candidate was left out because a relay could not reach it", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    pool.table.eject(0, NOW_MS + 1);
    expect(whyOf(explained(pool))).toEqual({ e0: "removed by ejection-filter", e1: "chosen" });
  });

  it("names the filter that removed a candidate, and an age that does not exist as null", () => {
    const pool = new TestPool(2);
    pool.table.applySample(1, { waiting: 0 }, NOW_MS);
    const attempt = explained(pool);
    expect(whyOf(attempt)).toEqual({ e0: "removed by metrics-freshness-filter", e1: "chosen" });
    expect(attempt.candidates[1]).toMatchObject({
      id: "default/e0",
      rank: null,
      total: null,
      ageMs: null,
      scores: { "queue-scorer": null },
    });
  });

  it("tells a tie from a loss", () => {
    const config = profileConfig({ scorers: [{ type: "queue-scorer" }] });
    const pool = new TestPool(2, config);
    pool.sampleAll();
    expect(Object.values(whyOf(explained(pool))).toSorted()).toEqual([
      "chosen",
      "tied with the chosen; decided at random",
    ]);
  });

  it("tells how the request came through the queue", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    const queue = {
      waitedMs: 1_250.5,
      priority: -(2 ** 31),
      fairnessId: "team-a",
      saturation: 0.97,
    };
    expect(explained(pool, { queue }).queue).toEqual(queue);
    expect(recordPick(pool, PROMPT, { queue })!.queue).toEqual(queue);
  });

  it.for([
    ["no number", undefined, null],
    ["more than JSON has", Infinity, Number.MAX_VALUE],
  ] as const)("tells a saturation that is %s as one that can be read", ([, saturation, told]) => {
    const pool = new TestPool(1);
    const queue = { waitedMs: 0, priority: 0, fairnessId: "a" };
    const facts = saturation === undefined ? queue : { ...queue, saturation };
    expect(explained(pool, { queue: facts }).queue).toEqual({ ...queue, saturation: told });
  });

  it("says nothing of a queue where the pool has no flow control", () => {
    expect(explained(new TestPool(1))).not.toHaveProperty("queue");
  });

  it("keeps how it went apart from the queue", () => {
    const ring = new DecisionRing();
    const pool = new TestPool(1);
    const queue = { waitedMs: 5, priority: 1, fairnessId: "a", saturation: 0.5 };
    recordPick(pool, PROMPT, { ring, queue });
    const result = {
      endpoint: "10.0.0.0:8000",
      outcome: "ok",
      ttftMs: 7,
      promptTokens: 8,
      cachedTokens: 9,
      predictedTokens: 9,
      completionTokens: 10,
    };
    ring.settle("request-1", 0, result);
    expect(ring.find("request-1")[0]).toMatchObject({ queue, result });
  });
});
