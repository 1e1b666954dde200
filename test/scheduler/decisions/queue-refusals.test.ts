import { describe, expect, it } from "vitest";
import { explanationSchema } from "../../../src/scheduler/decisions/document.ts";
import { explainAll } from "../../../src/scheduler/decisions/explain.ts";
import {
  QUEUE_REFUSALS_MAX,
  type QueueRefusal,
  QueueRefusals,
} from "../../../src/scheduler/decisions/queue-refusals.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

function refusal(requestId: string, change: Partial<QueueRefusal> = {}): QueueRefusal {
  return {
    request: {
      requestId,
      model: "m",
      tenant: "acme",
      priority: -1,
      promptTokens: 9,
      bodyBytes: 80,
    },
    attempt: 0,
    atMs: 5_000,
    configVersion: 3,
    queue: { waitedMs: 1_200, priority: -1, fairnessId: "acme", saturation: 1.5 },
    dropped: { reason: "evicted-queue-pressure", detail: "its place was needed" },
    ...change,
  };
}

/** The explanation of a request, as one reads it. */
function explained(refusals: QueueRefusals, records: Parameters<typeof explainAll>[1] = []) {
  const at = { requestId: "request-1", pool: "eu-1" };
  const explanation = explainAll(
    { ...at, refused: refusals.find("request-1"), pools: undefined },
    records,
  );
  return explanationSchema.parse(JSON.parse(JSON.stringify(explanation)));
}

describe("refusals in the queue", () => {
  it("are explained: who, how long, in which band and why", () => {
    const refusals = new QueueRefusals();
    refusals.add(refusal("request-1"));
    expect(explained(refusals)).toMatchObject({
      requestId: "request-1",
      pool: "eu-1",
      attempts: [
        {
          attempt: 0,
          tenant: "acme",
          candidateCount: 0,
          chosen: [],
          dropped: { reason: "evicted-queue-pressure" },
          queue: { waitedMs: 1_200, priority: -1, fairnessId: "acme", saturation: 1.5 },
        },
      ],
    });
  });

  it("stand among the attempts that were decided", () => {
    const refusals = new QueueRefusals();
    refusals.add(refusal("request-1", { attempt: 1 }));
    const pool = new TestPool(2);
    pool.sampleAll();
    const record = recordPick(pool, "a prompt")!;
    const { attempts } = explained(refusals, [record]);
    expect(attempts.map(({ attempt, candidateCount }) => [attempt, candidateCount])).toEqual([
      [0, 2],
      [1, 0],
    ]);
  });

  it("are not replayed, and keep nobody from replaying what was decided", () => {
    const refusals = new QueueRefusals();
    refusals.add(refusal("request-1", { attempt: 1 }));
    const alone = parseReplayable(explained(refusals));
    expect(alone).toMatchObject({ ok: false, issues: [{ path: "attempts" }] });
    const pool = new TestPool(2);
    pool.sampleAll();
    const both = parseReplayable(explained(refusals, [recordPick(pool, "a prompt")!]));
    expect(both.ok && both.value.attempts.map(({ attempt }) => attempt)).toEqual([0]);
  });

  it("are kept up to a number, the newest, and one a request", () => {
    const refusals = new QueueRefusals();
    for (let i = 0; i < QUEUE_REFUSALS_MAX; i++) refusals.add(refusal(`r${i}`));
    refusals.add(refusal("r1", { attempt: 1 }));
    expect(refusals.size).toBe(QUEUE_REFUSALS_MAX);
    expect(refusals.find("r0")).toBeDefined();
    refusals.add(refusal("late"));
    refusals.add(refusal("later"));
    expect(refusals.size).toBe(QUEUE_REFUSALS_MAX);
    expect(refusals.find("r0")).toBeUndefined();
    expect(refusals.find("r1")).toMatchObject({ attempt: 1 });
    expect(refusals.find("r2")).toBeUndefined();
    expect(refusals.find("late")).toBeDefined();
  });

  it("has nothing to say of a request it does not know", () => {
    expect(
      explainAll(
        {
          requestId: "x",
          pool: "eu-1",
          refused: new QueueRefusals().find("x"),
          pools: [],
        },
        [],
      ),
    ).toBeUndefined();
  });
});
