import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Change = (attempt: Record<string, Json>, candidate: Record<string, Json>) => void;

function createDocument(change: Change = () => {}): Record<string, Json> {
  const pool = new TestPool(3);
  pool.sampleAll();
  const record = recordPick(pool, "a prompt of some length ".repeat(40))!;
  const document = JSON.parse(JSON.stringify(explain("pool-a", [record]))) as {
    attempts: Record<string, Json>[];
  };
  const attempt = document.attempts[0]!;
  change(attempt, (attempt["candidates"] as Record<string, Json>[])[1]!);
  return document as never;
}

describe("parseReplayable", { timeout: 30_000 }, () => {
  it("reads what explain wrote", () => {
    expect(parseReplayable(createDocument())).toMatchObject({ ok: true });
  });

  it("reads fields that it does not know", () => {
    const document = createDocument((attempt, candidate) => {
      attempt["later"] = { much: true };
      candidate["later"] = 1;
    });
    expect(parseReplayable({ ...document, later: [] })).toMatchObject({ ok: true });
  });

  it("says of a decision at the edge that it has no record, and takes those that have", () => {
    const numbers = { rttMs: 40, snapshotAgeMs: 10, credit: 1, saturation: 0, gainMs: 0 };
    const decided = { where: "local", reason: "x", knownTokens: 0, possibleTokens: 0, ...numbers };
    const recorded = createDocument((attempt) => (attempt["decided"] = decided));
    const bare = createDocument((attempt) => {
      Object.assign(attempt, { decided, candidates: [], candidateCount: 0 });
      delete attempt["scheduler"];
    });
    const attempts = [...(bare["attempts"] as Json[]), ...(recorded["attempts"] as Json[])];
    expect(parseReplayable({ ...recorded, attempts })).toMatchObject({
      ok: true,
      value: { attempts: [{ decided }] },
    });
    const refused = parseReplayable(bare);
    expect(refused).toMatchObject({ ok: false, isUnrecorded: true });
    expect(refused.ok ? "" : refused.issues[0]!.message).toContain("decided at the edge");
  });

  const cases: readonly { name: string; path: string; says: string; change: Change }[] = [
    {
      name: "an older document, without what a replay needs",
      path: "attempts[0].scheduler",
      says: "did not record what a replay needs",
      change: (attempt) => delete attempt["scheduler"],
    },
    {
      name: "a plugin that does not exist",
      path: "attempts[0].scheduler.plugins[2].type",
      says: "newest-scorer",
      change: (attempt) => {
        const text = JSON.stringify(attempt["scheduler"]);
        const changed = text.replace('"type":"queue-scorer"', '"type":"newest-scorer"');
        attempt["scheduler"] = JSON.parse(changed) as Json;
      },
    },
    {
      name: "a candidate without a slot",
      path: "attempts[0].candidates[1].slot",
      says: "is missing",
      change: (_, candidate) => delete candidate["slot"],
    },
    {
      name: "two candidates in one slot",
      path: "attempts[0].candidates[1].slot",
      says: "another candidate's",
      change: (attempt, candidate) => {
        candidate["slot"] = (attempt["candidates"] as Record<string, Json>[])[0]!["slot"]!;
      },
    },
    {
      name: "a slot that no pool has",
      path: "attempts[0].candidates[1].slot",
      says: "1023",
      change: (_, candidate) => {
        candidate["slot"] = 1e9;
      },
    },
    {
      name: "a column that is no number",
      path: "attempts[0].candidates[1].columns.kvUsage",
      says: "expected number",
      change: (_, candidate) => {
        (candidate["columns"] as Record<string, Json>)["kvUsage"] = "half";
      },
    },
    {
      name: "a choice that was no candidate",
      path: "attempts[0].chosen[0]",
      says: "no candidate's address",
      change: (attempt) => {
        attempt["chosen"] = ["10.0.0.99:1"];
      },
    },
    {
      name: "no candidates",
      path: "attempts[0].candidates",
      says: "has no candidate",
      change: (attempt) => {
        attempt["candidates"] = [];
        attempt["chosen"] = [];
      },
    },
    {
      name: "more blocks than a prompt can have",
      path: "attempts[0].totalBlocks",
      says: "2048",
      change: (attempt) => {
        attempt["totalBlocks"] = 1e12;
      },
    },
    {
      name: "more keys than blocks",
      path: "attempts[0].keys",
      says: "more keys than 0 blocks",
      change: (attempt) => {
        attempt["totalBlocks"] = 0;
      },
    },
    {
      name: "a key that is none",
      path: "attempts[0].keys[0]",
      says: "16 hexadecimal digits",
      change: (attempt) => {
        attempt["keys"] = ["what the prompt said"];
      },
    },
  ];
  it.for(cases)("refuses $name, by its path", ({ path, says, change }) => {
    const parsed = parseReplayable(createDocument(change));
    const issues = parsed.ok ? [] : parsed.issues;
    expect(issues.map((issue) => issue.path)).toContain(path);
    expect(issues.map((issue) => issue.message).join()).toContain(says);
  });

  it("refuses what is no explanation", () => {
    for (const input of [null, 7, "text", [], {}, { requestId: "r", pool: "p", attempts: [] }])
      expect(parseReplayable(input).ok).toBe(false);
  });

  it("refuses or replays a damaged document, and never throws", () => {
    const text = JSON.stringify(createDocument());
    const paths = pathsOf(JSON.parse(text) as Json);
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 0, 1e308, "", null));
    const counts = { replayed: 0, refused: 0 };
    fc.assert(
      fc.property(fc.constantFrom(...paths), value, (path, damage) => {
        const document = JSON.parse(text) as Json;
        setAt(document, path, damage as Json);
        const parsed = parseReplayable(document);
        counts[parsed.ok ? "replayed" : "refused"]++;
        const { attempts } = parsed.ok ? parsed.value : { attempts: [] };
        for (const attempt of attempts) replayAttempt(attempt);
        return parsed.ok || parsed.issues.length > 0;
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(counts.replayed, counts.refused)).toBeGreaterThan(100);
  });
});

type Path = readonly (string | number)[];

function pathsOf(value: Json, path: Path = []): Path[] {
  if (value === null || typeof value !== "object") return [path];
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [path, ...entries.flatMap(([key, child]) => pathsOf(child, [...path, key]))].filter(
    (found) => found.length > 0,
  );
}

function setAt(root: Json, path: Path, value: Json): void {
  let parent = root as Record<string | number, Json>;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string | number, Json>;
  parent[path.at(-1)!] = value;
}
