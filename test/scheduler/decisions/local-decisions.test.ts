import { describe, expect, it } from "vitest";
import {
  LOCAL_ATTEMPTS_MAX,
  LOCAL_DECISION_LIMITS,
  LocalDecisions,
} from "../../../src/scheduler/decisions/local-decisions.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";

const AT = { atMs: 1_000, configVersion: 3 };
const RESULT = {
  endpoint: "10.0.0.1:8000",
  outcome: "ok",
  ttftMs: 20,
  promptTokens: 640,
  cachedTokens: 0,
  completionTokens: 9,
  predictedTokens: null,
};

function commit(requestId: string, attempt = 0): LocalCommit {
  const tokens = { promptTokens: 640, outputTokens: 10, reservedTokens: 650 };
  return {
    requestId,
    attempt,
    ticket: "i1-1",
    tenant: "acme",
    fairnessId: "acme",
    weight: 1,
    model: "m",
    priority: 0,
    keys: new Uint32Array(20),
    ...tokens,
    endpoints: ["10.0.0.1:8000"],
    decidedAgoMs: 0,
    terms: {} as LocalCommit["terms"],
  };
}

describe("LocalDecisions", () => {
  it("keeps what was chosen for each attempt, and how it went", () => {
    const decisions = new LocalDecisions();
    decisions.add(commit("r1"), AT);
    decisions.add(commit("r1", 1), AT);
    decisions.ended("r1", 1, RESULT);
    decisions.ended("r2", 0, RESULT);
    expect(decisions.find("r1")).toMatchObject([
      { attempt: 0, ...AT, totalBlocks: 10, chosen: ["10.0.0.1:8000"], result: null },
      { attempt: 1, result: RESULT },
    ]);
    expect(decisions.find("r2")).toEqual([]);
  });

  it("keeps so many attempts of one request, and an attempt once", () => {
    const decisions = new LocalDecisions();
    for (let n = 0; n < LOCAL_ATTEMPTS_MAX + 2; n++) decisions.add(commit("r1", n), AT);
    decisions.add(commit("r1", 0), AT);
    expect(decisions.find("r1")).toHaveLength(LOCAL_ATTEMPTS_MAX);
  });

  it("forgets the oldest past its maximum", () => {
    const decisions = new LocalDecisions();
    for (let n = 0; n <= LOCAL_DECISION_LIMITS.textsMax; n++) decisions.add(commit(`r${n}`), AT);
    expect(decisions.size).toBe(LOCAL_DECISION_LIMITS.textsMax);
    expect(decisions.find("r0")).toEqual([]);
  });
});
