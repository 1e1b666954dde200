import { describe, expect, it } from "vitest";
import type {
  ExplainedCandidate,
  ExplanationDocument,
} from "../../../src/scheduler/decisions/document.ts";
import { renderExplanation } from "../../../src/cli/explain/table.ts";

function candidate(index: number, change: Partial<ExplainedCandidate> = {}): ExplainedCandidate {
  return {
    id: `default/sim-${index}`,
    address: `127.0.0.1:900${index}`,
    rank: index + 1,
    total: 6 - index,
    queueDepth: index,
    runningRequests: 2,
    kvUsage: 0.125,
    inFlightRequests: 1,
    inFlightTokens: 100,
    matchedBlocks: 3,
    ageMs: 120.4,
    scores: {
      "queue-scorer": 1,
      "kv-cache-utilization-scorer": 0.875,
      "prefix-cache-scorer": 0.25,
      "no-hit-lru-scorer": 0.5,
    },
    why: index === 0 ? "chosen" : "lost 1.25 on kv-cache-utilization-scorer",
    ...change,
  };
}

function explanation(
  change: Partial<ExplanationDocument["attempts"][number]> = {},
): ExplanationDocument {
  return {
    requestId: "fl-0a1b2c3d-00-x",
    pool: "local",
    attempts: [
      {
        attempt: 0,
        atMs: Date.UTC(2026, 10, 21, 12),
        model: "fairlead-sim",
        tenant: "default",
        priority: 0,
        promptTokens: 812,
        totalBlocks: 12,
        configVersion: 3,
        seed: 77,
        staleAfterMs: 1_600,
        filters: [{ type: "metrics-freshness-filter", removed: 1 }],
        scorers: [
          { type: "queue-scorer", weight: 2 },
          { type: "kv-cache-utilization-scorer", weight: 2 },
          { type: "prefix-cache-scorer", weight: 3 },
          { type: "no-hit-lru-scorer", weight: 2 },
        ],
        candidateCount: 3,
        candidates: [
          candidate(0),
          candidate(1),
          candidate(2, {
            rank: null,
            total: null,
            scores: {},
            ageMs: null,
            why: "removed by metrics-freshness-filter",
          }),
        ],
        chosen: ["127.0.0.1:9000", "127.0.0.1:9001"],
        dropped: null,
        result: {
          endpoint: "127.0.0.1:9000",
          outcome: "ok",
          ttftMs: 84.4,
          promptTokens: 812,
          cachedTokens: 448,
          completionTokens: 96,
        },
        ...change,
      },
    ],
  };
}

describe("renderExplanation", () => {
  it("names the object that decided, but for the pool's own", () => {
    const requestId = `fl-0a1b2c3d-0b-${"7".repeat(32)}`;
    const text = renderExplanation({ ...explanation(), requestId });
    expect(text.split("\n")[0]).toBe(`Request ${requestId} in pool local, object 11 of it`);
  });

  it("says of a decision at the edge in which numbers it was taken, and that no more is on record", () => {
    const decided = {
      where: "local",
      reason: "nothing-to-gain",
      rttMs: 40,
      snapshotAgeMs: 120,
      credit: 12,
      saturation: 0.5,
      knownTokens: 64,
      possibleTokens: 64,
      gainMs: 0,
    } as const;
    const none = { candidates: [], candidateCount: 0, scorers: [], filters: [] };
    const text = renderExplanation(explanation({ ...none, decided, result: null }));
    expect(text).toContain(
      `  decided at the edge, because asking could have saved less than it takes: round trip 40 ms`,
    );
    expect(text).toContain("  configuration version 3; who else was considered is not on record\n");
    expect(text).toContain("  if it fails, next: 127.0.0.1:9001\n");
    expect(text).not.toContain("What was seen");
  });

  it("says what was seen, how it was scored and why the others lost", () => {
    expect(renderExplanation(explanation())).toBe(`Request fl-0a1b2c3d-00-x in pool local

Attempt 0, 2026-11-21T12:00:00.000Z: 127.0.0.1:9000 was chosen
  model fairlead-sim, tenant default, priority 0
  about 812 prompt tokens, 12 full blocks of text
  3 candidates; metrics-freshness-filter removed 1
  configuration version 3, random seed 77
  if it fails, next: 127.0.0.1:9001

What was seen
  #  endpoint       address            age  waiting  running  kv used  in flight  cached
  1  default/sim-0  127.0.0.1:9000  120 ms        0        2      13%          1    3/12
  2  default/sim-1  127.0.0.1:9001  120 ms        1        2      13%          1    3/12
  -  default/sim-2  127.0.0.1:9002   never        2        2      13%          1    3/12

Scores, from 0 to 1; the total is their sum, each times its weight
                             kv-cache-  prefix-  no-hit-
                    queue  utilization    cache      lru
  #  endpoint          ×2           ×2       ×3       ×2  total  why
  1  default/sim-0   1.00         0.88     0.25     0.50   6.00  chosen
  2  default/sim-1   1.00         0.88     0.25     0.50   5.00  lost 1.25 on kv-cache-utilization
  -  default/sim-2      -            -        -        -      -  removed by metrics-freshness-filter

127.0.0.1:9000 answered: ok, first byte after 84 ms
  812 prompt tokens, 448 of them cached, 96 generated
`);
  });

  it("tells why a request was split, and what became of it", () => {
    const terms = { localMs: 1_240, splitMs: 660.4, uncachedTokens: null };
    const attempt = explanation().attempts[0]!;
    const prefill = {
      endpoint: "127.0.0.1:9003",
      outcome: "timeout",
      prefillMs: 801.6,
      failedCount: 1,
      isDecodeOnly: true,
      isStranded: false,
    };
    const split = explanation({
      verdicts: [
        { stage: "encode", isApart: false, terms: {} },
        { stage: "prefill", isApart: true, terms },
      ],
      kvSource: "127.0.0.1:9002",
      result: { ...attempt.result!, prefill },
    });
    const text = renderExplanation(split);
    expect(text).toContain("\n  encode does not run apart\n");
    expect(text).toContain("\n  prefill runs apart: localMs 1240, splitMs 660, uncachedTokens -\n");
    expect(text).toContain("\n  blocks may be copied from 127.0.0.1:9002\n");
    expect(text).toContain(
      "first byte after 84 ms\n  prefill at 127.0.0.1:9003: timeout after 802 ms; 1 failed before; " +
        "the prompt was computed where it was decoded\n  812 prompt tokens",
    );
    const none = { ...prefill, endpoint: null, failedCount: 0, isDecodeOnly: false };
    const stranded = renderExplanation(
      explanation({ result: { ...attempt.result!, prefill: { ...none, isStranded: true } } }),
    );
    expect(stranded).toContain(
      "\n  prefill at nobody: timeout after 802 ms; its blocks were left behind\n",
    );
  });

  it("fits into 100 columns with the default scorers", () => {
    const lines = renderExplanation(explanation()).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  it("tells of a refusal, of a stale sample and of candidates left out", () => {
    const text = renderExplanation(
      explanation({
        chosen: [],
        dropped: { reason: "rejected-saturated", detail: "every endpoint was filtered out" },
        result: null,
        candidateCount: 100,
        candidates: [candidate(0, { ageMs: 20_000, id: `default/${"x".repeat(60)}` })],
      }),
    );
    expect(text).toContain("refused as rejected-saturated (every endpoint was filtered out)");
    expect(text).toContain("20 s stale");
    expect(text).toContain("and 99 more candidates");
    expect(text).toContain("Nothing was sent");
    expect(text).not.toContain("x".repeat(40));
  });

  it("says so when the outcome is not known yet", () => {
    expect(renderExplanation(explanation({ result: null }))).toContain("not been reported yet");
  });

  it.for([
    {
      waitedMs: 12.4,
      saturation: 0.974,
      says: "waited 12 ms in priority band 2 as flow team-a; let",
    },
    { waitedMs: 90_000, saturation: 0.974, says: "let through, at a saturation of 0.97\n" },
    {
      waitedMs: 90_000,
      saturation: null,
      says: "waited 90.0 s in priority band 2 as flow team-a; let through\n",
    },
    { waitedMs: 1, saturation: Number.MAX_VALUE, says: "at a saturation of over 1000\n" },
  ])("tells of $waitedMs ms in the queue at $saturation", ({ waitedMs, saturation, says }) => {
    const queue = { waitedMs, saturation, priority: 2, fairnessId: "team-a" };
    expect(renderExplanation(explanation({ queue }))).toContain(says);
  });

  it("tells of a request that the queue let go of", () => {
    const dropped = { reason: "rejected-ttl-expired", detail: "request timed out in queue" };
    const queue = { waitedMs: 30_000, saturation: 1.2, priority: -1, fairnessId: "batch" };
    const refused = { candidateCount: 0, candidates: [], chosen: [], dropped, result: null };
    expect(renderExplanation(explanation({ ...refused, queue }))).toBe(`\
Request fl-0a1b2c3d-00-x in pool local

Attempt 0, 2026-11-21T12:00:00.000Z: refused as rejected-ttl-expired (request timed out in queue)
  model fairlead-sim, tenant default, priority 0
  waited 30.0 s in priority band -1 as flow batch, in vain, at a saturation of 1.20

Nothing was sent to any endpoint.
`);
    const atOnce = renderExplanation(
      explanation({ ...refused, queue: { ...queue, waitedMs: 0, saturation: null } }),
    );
    expect(atOnce).toContain("  not let into priority band -1 as flow batch\n");
  });

  it("lets no name that a client chose move the cursor", () => {
    expect(renderExplanation(explanation({ model: "m\u001b[2J" }))).toContain("model m\uFFFD[2J,");
  });

  it("refuses an answer it does not understand", () => {
    expect(() => renderExplanation({ requestId: 1 })).toThrow("could not be read");
  });

  it("shows the other profiles that ran, and what scores are made of", () => {
    const terms = { "latency-cost-scorer": { waitMs: 120.4, prefillMs: 33.333 } };
    const scorers = [{ type: "latency-cost-scorer", name: "cost", weight: 1 }];
    const scored = candidate(0, {
      scores: { cost: 0.5 },
      terms: { cost: terms["latency-cost-scorer"] },
    });
    const { id, rank, total, scores, why } = scored;
    const text = renderExplanation(
      explanation({
        profile: "decode",
        role: "primary",
        filters: [{ type: "by-label", name: "decode-only", removed: 2 }],
        scorers,
        candidates: [scored],
        stages: [
          {
            profile: "prefill",
            role: "prefill",
            filters: [],
            scorers,
            candidates: [{ id, rank, total, scores, why }],
            chosen: ["127.0.0.1:9005"],
          },
        ],
      }),
    );
    expect(text).toContain("decode-only (by-label) removed 2");
    expect(text).toMatch(/What cost is made of\n.* prefill\n.*wait ms +ms\n.* 120 +33\.33/);
    expect(text).toContain("Profile prefill, for prefill: 127.0.0.1:9005 was chosen");
    expect(text.match(/What cost is made of/g)).toHaveLength(1);
  });

  it("says what a shadow configuration would have done", () => {
    const linesWith = (shadow: { chosen: string | null; dropped: string | null }) =>
      renderExplanation(explanation({ shadow }));
    expect(linesWith({ chosen: "127.0.0.1:9000", dropped: null })).toContain(
      "the shadow would have chosen the same",
    );
    expect(linesWith({ chosen: "127.0.0.1:9001", dropped: null })).toContain(
      "the shadow would have chosen 127.0.0.1:9001",
    );
    expect(linesWith({ chosen: null, dropped: "rejected-saturated" })).toContain(
      "the shadow would have refused it as rejected-saturated",
    );
  });
});
