import { beforeEach, describe, expect, it } from "vitest";
import { schedulerHash } from "../../../src/scheduler/config/scheduler-hash.ts";
import { DecidedWhere, encodeTerms } from "../../../src/scheduler/decisions/decided-where.ts";
import { LocalDecisions } from "../../../src/scheduler/decisions/local-decisions.ts";
import { PAGE_LIMITS, pageOf, type PageQuery } from "../../../src/scheduler/decisions/pages.ts";
import { createNumbers, DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { localCommit, recordedCommit } from "../support/local-commit.ts";
import { NOW_MS } from "../support/pick-context.ts";
import { TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

let pool: TestPool;
let kept: { records: DecisionRing; local: LocalDecisions; where: DecidedWhere };

beforeEach(() => {
  const numbers = createNumbers();
  pool = new TestPool(3);
  pool.sampleAll();
  kept = {
    records: new DecisionRing(undefined, numbers),
    local: new LocalDecisions(numbers),
    where: new DecidedWhere(),
  };
});

/** The object has decided. */
const decide = (requestId: string, nowMs = NOW_MS) =>
  recordPick(pool, "x", { ring: kept.records, requestId, nowMs });
/** An isolate has, and tells it. */
const tell = (requestId: string, atMs = NOW_MS) =>
  kept.local.add(localCommit(requestId), { atMs, configVersion: 3, scheduler: pool.config });

function page(query: Partial<PageQuery> = {}) {
  return pageOf(kept, { sinceMs: 0, count: 1_000, ...query });
}
const idsOf = ({ decisions }: ReturnType<typeof page>) =>
  decisions.map(({ requestId }) => requestId);

describe("pageOf", () => {
  it("has none of a pool without decisions", () => {
    expect(page()).toEqual({ decisions: [], next: undefined });
  });

  it("has decisions of the object and of isolates in one order, page by page, each once", () => {
    const order = ["o", "l", "l", "o", "l", "o", "o", "l", "l", "l", "o"];
    const ids = order.map((kind, n) => `${kind}${n}`);
    for (const id of ids) (id.startsWith("o") ? decide : tell)(id);
    const seen: string[] = [];
    let next: number | undefined;
    do {
      const part = page({ count: 3, before: next });
      seen.push(...idsOf(part));
      next = part.next;
      // What comes meanwhile is newer than what is read.
      if (seen.length < 9) tell("later");
    } while (next !== undefined);
    expect(seen).toEqual(ids.toReversed());
  });

  it("leaves out what is older than is asked for, though an isolate tells of it late", () => {
    decide("o0", NOW_MS);
    decide("o1", NOW_MS + 10);
    tell("l0", NOW_MS + 5);
    tell("l1", NOW_MS + 15);
    expect(idsOf(page({ sinceMs: NOW_MS + 10 }))).toEqual(["l1", "o1"]);
  });

  it("says of each where it was decided, and shows those that have no record without candidates", () => {
    decide("o0");
    const terms = { ...localCommit("x").terms, where: "consult", reason: "near" } as const;
    kept.where.add("o0", 0, encodeTerms(terms));
    tell("l0");
    const { commit, record } = recordedCommit(pool, "l1");
    kept.local.add(commit, { atMs: NOW_MS, configVersion: 3, scheduler: pool.config });
    kept.local.record(record, schedulerHash(pool.config));
    const { decisions } = page();
    expect(decisions.map(({ attempt }) => attempt)).toMatchObject([
      { candidateCount: 3, decided: { where: "local" } },
      { candidateCount: 0, decided: { where: "local" }, chosen: ["10.0.0.1:8000"] },
      { candidateCount: 3, decided: { where: "consult", reason: "near" } },
    ]);
    expect(decisions.map(({ scheduler }) => scheduler)).toEqual(
      Array.from({ length: 3 }, () => pool.config),
    );
  });

  it("leaves out what the object granted and nobody used, for its isolate decided in its place", () => {
    decide("r1");
    tell("r1");
    decide("r2");
    const { decisions } = page();
    expect(decisions.map(({ requestId, attempt }) => [requestId, attempt.candidateCount])).toEqual([
      ["r2", 3],
      ["r1", 0],
    ]);
  });

  it("ends a page at so many records or candidates, and at so many decisions without", () => {
    for (let n = 0; n <= PAGE_LIMITS.decisionsMax; n++) tell(`l${n}`);
    expect(page().decisions).toHaveLength(PAGE_LIMITS.decisionsMax);
    for (let n = 0; n <= PAGE_LIMITS.recordsMax; n++) decide(`o${n}`);
    expect(page().decisions).toHaveLength(PAGE_LIMITS.recordsMax);
    pool = new TestPool(64);
    for (let n = 0; n < 10; n++) decide(`large${n}`);
    expect(page().decisions).toHaveLength(PAGE_LIMITS.candidatesMax / 64);
  });
});
