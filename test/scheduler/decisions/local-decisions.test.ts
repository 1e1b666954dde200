import { describe, expect, it } from "vitest";
import { schedulerHash } from "../../../src/scheduler/config/scheduler-hash.ts";
import {
  LOCAL_ATTEMPTS_MAX,
  LOCAL_DECISION_LIMITS,
  LocalDecisions,
} from "../../../src/scheduler/decisions/local-decisions.ts";
import { sizeOfRecord } from "../../../src/scheduler/decisions/packed-record.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { localCommit, recordedCommit } from "../support/local-commit.ts";
import { profileConfig } from "../support/profile-config.ts";
import { TestPool } from "../support/pool.ts";

const SCHEDULER = profileConfig();
const AT = { atMs: 1_000, configVersion: 3, scheduler: SCHEDULER };
const RESULT = {
  endpoint: "10.0.0.1:8000",
  outcome: "ok",
  ttftMs: 20,
  promptTokens: 640,
  cachedTokens: 0,
  completionTokens: 9,
  predictedTokens: null,
};

function pool(endpoints = 3): TestPool {
  const made = new TestPool(endpoints, SCHEDULER);
  made.sampleAll();
  return made;
}

describe("LocalDecisions", () => {
  it("keeps what was chosen for each attempt, why there, and how it went", () => {
    const decisions = new LocalDecisions();
    decisions.add(localCommit("r1"), AT);
    decisions.add(localCommit("r1", 1), AT);
    decisions.ended("r1", 1, RESULT);
    decisions.ended("r2", 0, RESULT);
    const { scheduler: _, ...at } = AT;
    expect(decisions.find("r1")).toMatchObject([
      {
        attempt: 0,
        ...at,
        totalBlocks: 10,
        chosen: ["10.0.0.1:8000"],
        candidates: [],
        result: null,
        decided: { where: "local", reason: "nothing-to-gain", rttMs: 40.12, credit: null },
      },
      { attempt: 1, result: RESULT },
    ]);
    expect(decisions.find("r2")).toEqual([]);
    expect([decisions.has("r1", 1), decisions.has("r1", 2)]).toEqual([true, false]);
  });

  it("keeps so many attempts of one request, and an attempt once", () => {
    const decisions = new LocalDecisions();
    for (let n = 0; n < LOCAL_ATTEMPTS_MAX + 2; n++) decisions.add(localCommit("r1", n), AT);
    decisions.add(localCommit("r1", 0), AT);
    expect(decisions.find("r1").map(({ attempt }) => attempt)).toEqual([1, 2, 3, 0]);
    expect(decisions.size).toBe(LOCAL_ATTEMPTS_MAX);
  });

  it("forgets the oldest past its maximum", () => {
    const decisions = new LocalDecisions();
    const { decisionsMax } = LOCAL_DECISION_LIMITS;
    for (let n = 0; n <= decisionsMax; n++)
      decisions.add(localCommit(`r${n}`), { ...AT, atMs: 1_000 + n });
    expect(decisions.size).toBe(decisionsMax);
    expect(decisions.find("r0")).toEqual([]);
    expect(decisions.oldestAtMs).toBe(1_001);
  });

  it("forgets the oldest past the characters it has room for", () => {
    const decisions = new LocalDecisions();
    const model = "m".repeat(1_000);
    for (let n = 0; n < 3_000; n++) decisions.add(localCommit(`r${n}`, 0, { model }), AT);
    expect(decisions.size).toBeLessThan(LOCAL_DECISION_LIMITS.charsMax / 1_000);
    expect(decisions.size).toBeGreaterThan(2_000);
    expect(decisions.has("r2999", 0)).toBe(true);
  });

  it("forgets what a configuration has decided that is of long ago", () => {
    const decisions = new LocalDecisions();
    const schedulers = Array.from({ length: LOCAL_DECISION_LIMITS.schedulersMax + 1 }, () => ({
      ...SCHEDULER,
    }));
    for (const [n, scheduler] of schedulers.entries())
      decisions.add(localCommit(`r${n}`), { ...AT, scheduler });
    expect(decisions.has("r0", 0)).toBe(false);
    expect(decisions.size).toBe(LOCAL_DECISION_LIMITS.schedulersMax);
  });

  it("shows the other candidates of a decision whose record has come, and how it went", () => {
    const decisions = new LocalDecisions();
    const { commit, record } = recordedCommit(pool(), "r1");
    decisions.add(commit, AT);
    decisions.ended("r1", 0, RESULT);
    expect(decisions.record(record, schedulerHash(SCHEDULER))).toBe("kept");
    const [attempt] = decisions.find("r1");
    expect(attempt).toMatchObject({
      candidateCount: 3,
      chosen: commit.endpoints,
      result: RESULT,
      decided: { where: "local" },
      scheduler: SCHEDULER,
    });
    expect(attempt!.candidates.map(({ id }) => id).toSorted()).toEqual([
      "default/e0",
      "default/e1",
      "default/e2",
    ]);
  });

  it("takes no record that it cannot show", () => {
    const decisions = new LocalDecisions();
    const { commit, record } = recordedCommit(pool(), "r1");
    const hash = schedulerHash(SCHEDULER);
    expect(decisions.record(record, hash)).toBe("unknown");
    decisions.add(commit, AT);
    expect(decisions.record({ ...record, attempt: 1 }, hash)).toBe("unknown");
    expect(decisions.record(record, "another")).toBe("other-configuration");
    expect(decisions.record({ ...record, layout: 0 }, hash)).toBe("malformed");
    expect(decisions.recordBytes).toBe(0);
    expect(decisions.find("r1")).toMatchObject([{ candidateCount: 0 }]);
  });

  it("shows a decision without its candidates where the record is damaged, or another's", () => {
    const decisions = new LocalDecisions();
    const hash = schedulerHash(SCHEDULER);
    for (const requestId of ["r1", "r2"]) {
      const { commit, record } = recordedCommit(pool(), requestId);
      decisions.add(commit, AT);
      decisions.add({ ...commit, attempt: 1 }, AT);
      const numbers = requestId === "r1" ? record.numbers.subarray(8) : record.numbers;
      decisions.record({ ...record, numbers, attempt: 1 }, hash);
      expect(decisions.find(requestId)).toMatchObject([
        { candidateCount: 0, chosen: commit.endpoints },
        { candidateCount: 0, chosen: commit.endpoints },
      ]);
    }
  });

  it("lets go of the oldest records past their bytes, and of none of the decisions", () => {
    const decisions = new LocalDecisions();
    const large = pool(64);
    const hash = schedulerHash(SCHEDULER);
    let bytes = 0;
    let count = 0;
    for (; bytes <= LOCAL_DECISION_LIMITS.recordBytesMax; count++) {
      const { commit, record } = recordedCommit(large, `r${count}`);
      decisions.add(commit, AT);
      decisions.record(record, hash);
      bytes += sizeOfRecord(record);
    }
    expect(decisions.recordBytes).toBeLessThanOrEqual(LOCAL_DECISION_LIMITS.recordBytesMax);
    expect(decisions.recordBytes).toBeGreaterThan(0.9 * LOCAL_DECISION_LIMITS.recordBytesMax);
    expect(decisions.size).toBe(count);
    const candidatesOf = (n: number) => decisions.find(`r${n}`)[0]!.candidateCount;
    expect([candidatesOf(0), candidatesOf(count - 1)]).toEqual([0, 64]);
    // Those of decisions that are gone are gone, too.
    for (let n = 0; n < LOCAL_DECISION_LIMITS.decisionsMax; n++)
      decisions.add(localCommit(`later-${n}`), AT);
    expect(decisions.recordBytes).toBe(0);
  });

  it("keeps no record of a decision that it heard of without a configuration", () => {
    const decisions = new LocalDecisions();
    const { commit, record } = recordedCommit(pool(), "r1");
    decisions.add(commit, { ...AT, scheduler: undefined as SchedulerConfig | undefined });
    expect(decisions.record(record, schedulerHash(SCHEDULER))).toBe("unknown");
  });
});
