// Takes a recorded decision again with the real EndpointPicker.
//
// A pool is rebuilt from the document: each kept candidate in its slot, with the columns and matched
// blocks of the moment, the same clock, seed and configuration. What decided then decides now, but for
// two kinds of plugin whose answer is taken from the record:
//
//   a scorer that learns from picks       what it remembered is not in the record, what it said is
//   every filter and scorer, where not    they may compare a candidate with those that are missing;
//   all candidates were kept              the picker, which has only totals, still decides
//
// In both cases the choice is the recorded one for the same configuration: totals are the same
// numbers, all chosen are kept, and a picker does not care about candidates it does not choose.
// With another configuration the same substitutions are made as far as they fit, and the notes say
// what the record cannot know.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { COLUMN_NAMES, type ColumnName, RECORDED_COLUMNS } from "./record.ts";
import { DecisionRecorder } from "./recorder.ts";
import { DecisionRing } from "./ring.ts";
import { EndpointPicker } from "../endpoint-picker.ts";
import { explainAttempt, type WrittenAttempt } from "./explain.ts";
import { Adapters } from "../model/adapters.ts";
import { ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { RecordedAnswers } from "./replay-answers.ts";
import type { ReplayableAttempt, ReplayableCandidate } from "./replay-document.ts";

/** A decision that was taken again. */
export interface Replay {
  /** Whether the same endpoints were chosen in the same order, or none for the same reason. */
  readonly isSame: boolean;
  /** As a record of the replay would be explained. */
  readonly replayed: WrittenAttempt;
  /** What the replay rests on besides the record, or cannot know; sentences for people. */
  readonly notes: readonly string[];
}

/** Takes `attempt` again, with its own configuration or with another. */
export function replayAttempt(attempt: ReplayableAttempt, other?: SchedulerConfig): Replay {
  const scheduler = other ?? attempt.scheduler;
  const substitution = new RecordedAnswers(attempt, other);
  const picker = new EndpointPicker(scheduler, substitution.substitute);
  const ring = new DecisionRing();
  const recorder = new DecisionRecorder(ring);
  const pool = rebuildPool(attempt.candidates);
  const request = rebuildRequest(attempt);
  const picked = picker.pick(
    {
      request,
      endpoints: pool.columns,
      pool,
      prefixSources: { approximate: (_keys, out) => out.set(pool.matchedBlocks) },
      nowMs: attempt.atMs,
      staleAfterMs: attempt.staleAfterMs,
      seed: attempt.seed,
    },
    recorder,
  );
  const dropped = picked.ok ? {} : { dropped: { reason: picked.reason, detail: picked.detail } };
  const { configVersion, seed } = attempt;
  recorder.finish(pool, { attempt: attempt.attempt, configVersion, scheduler, seed, ...dropped });
  const replayed = explainAttempt(ring.find(request.requestId)[0]!);
  return { isSame: isSameChoice(attempt, replayed), replayed, notes: substitution.notes() };
}

function isSameChoice(a: ReplayableAttempt, b: WrittenAttempt): boolean {
  if ((a.dropped?.reason ?? null) !== (b.dropped?.reason ?? null)) return false;
  return a.chosen.length === b.chosen.length && a.chosen.every((at, i) => at === b.chosen[i]);
}

/** The pool of a record: its candidates in their slots, and nobody else. */
class RebuiltPool {
  readonly columns: EndpointColumns;
  readonly matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #endpoints: (Endpoint | undefined)[] = [];

  constructor(columns: EndpointColumns) {
    this.columns = columns;
  }

  endpoint(slot: number): Endpoint | undefined {
    return this.#endpoints[slot];
  }

  add(candidate: ReplayableCandidate): void {
    const { slot, id, address } = candidate;
    this.#endpoints[slot] = { id, address, engine: "", labels: {} };
    this.matchedBlocks[slot] = candidate.matchedBlocks;
    this.columns.isPresent[slot] = 1;
    for (const name of COLUMN_NAMES) this.columns[name][slot] = candidate.columns[name];
  }
}

function rebuildPool(candidates: readonly ReplayableCandidate[]): RebuiltPool {
  const columns = emptyColumns();
  const pool = new RebuiltPool({
    slotCount: Math.max(...candidates.map(({ slot }) => slot)) + 1,
    isPresent: new Uint8Array(ENDPOINTS_MAX),
    ...columns,
    // Not in the record: no adapter is active anywhere, and no scalar is known.
    adapters: new Adapters(columns.loraMax),
    scalar: () => undefined,
  });
  for (const candidate of candidates) pool.add(candidate);
  return pool;
}

function emptyColumns(): Record<ColumnName, Int32Array & Float64Array> {
  return Object.fromEntries(
    COLUMN_NAMES.map((name) => [
      name,
      RECORDED_COLUMNS[name] === "int32"
        ? new Int32Array(ENDPOINTS_MAX)
        : new Float64Array(ENDPOINTS_MAX),
    ]),
  ) as Record<ColumnName, Int32Array & Float64Array>;
}

function rebuildRequest(attempt: ReplayableAttempt): InferenceRequest {
  const keys = new Uint32Array(2 * attempt.totalBlocks);
  for (const [i, key] of attempt.keys.entries()) {
    const at = 2 * i * attempt.keyStride;
    keys[at] = Number.parseInt(key.slice(8), 16);
    keys[at + 1] = Number.parseInt(key.slice(0, 8), 16);
  }
  return {
    requestId: "replay",
    model: attempt.model,
    tenant: attempt.tenant,
    priority: attempt.priority,
    keys,
    promptTokens: attempt.promptTokens,
    outputTokensMax: attempt.outputTokensMax,
    bodyBytes: attempt.bodyBytes,
  };
}
