// What an isolate tells of a decision that it has taken alone.

import { explainAttempt } from "../../../src/scheduler/decisions/explain.ts";
import {
  type LocalRecord,
  RecordPacker,
  unpackRecord,
} from "../../../src/scheduler/decisions/packed-record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import type { TestPool } from "./pool.ts";
import { recordPick } from "./recorded.ts";

export function localCommit(
  requestId: string,
  attempt = 0,
  shape: Partial<LocalCommit> = {},
): LocalCommit {
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
    terms: { where: "local", reason: "nothing-to-gain", rttMs: 40.123 } as LocalCommit["terms"],
    ...shape,
  };
}

/** With the record of a pick among the pool's endpoints. */
export function recordedCommit(
  pool: TestPool,
  requestId: string,
): { readonly commit: LocalCommit; readonly record: LocalRecord } {
  const packer = new RecordPacker();
  const recorder = new DecisionRecorder(packer);
  recordPick(pool, "x", { requestId, recorder });
  const packed = packer.take()!;
  const endpoints = explainAttempt(unpackRecord(packed, requestId, pool.config)!).chosen;
  return {
    commit: localCommit(requestId, 0, { endpoints }),
    record: { ...packed, requestId, attempt: 0 },
  };
}
