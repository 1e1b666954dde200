// Takes a recorded decision again with the real EndpointPicker.
//
// A pool is rebuilt from the document: each kept candidate in its slot, with the columns, labels and
// matched blocks of the moment, the same clock, seed and configuration. What decided then decides now,
// but for plugins whose answer is taken from the record:
//
//   those that learn from picks           what they remembered is not in the record, what they said is
//   those that read what is not kept      headers and media of the request, custom metrics, and what
//                                         producers made of such; noticed when they read it
//   every filter and scorer, where not    they may compare a candidate with those that are missing;
//   all candidates were kept              the picker, which has only totals, still decides
//
// In all cases the choice is the recorded one for the same configuration: totals are the same
// numbers, all chosen are kept, and a picker does not care about candidates it does not choose.
// With another configuration the same substitutions are made as far as they fit, and the notes say
// what the record cannot know.

import { schedulerHash } from "../config/scheduler-hash.ts";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { COLUMN_NAMES, type ColumnName, RECORDED_COLUMNS } from "./record.ts";
import { RECORD_BYTES_MAX } from "./layout.ts";
import { DecisionRecorder } from "./recorder.ts";
import { DecisionRing } from "./ring.ts";
import { EndpointPicker } from "../endpoint-picker.ts";
import type { WrittenAttempt } from "./document.ts";
import { explainAttempt } from "./explain.ts";
import type { AdapterTable } from "../model/adapters.ts";
import { ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { RecordedAnswers } from "./replay-answers.ts";
import type { ReplayableAttempt, ReplayableCandidate } from "./replay-document.ts";
import { UnknownReads } from "./unknown-reads.ts";

/** Room for one record, as small as a ring may be. */
const RING_BYTES = 4 * RECORD_BYTES_MAX;

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
  const unknown = new UnknownReads();
  const substitution = new RecordedAnswers(attempt, other, unknown);
  const picker = new EndpointPicker(scheduler, substitution.substitute);
  const ring = new DecisionRing(RING_BYTES);
  const recorder = new DecisionRecorder(ring);
  const pool = rebuildPool(attempt, unknown);
  const request = rebuildRequest(attempt, unknown);
  const picked = picker.pick(
    {
      request,
      endpoints: pool.columns,
      pool,
      prefixSources: { approximate: (_keys, out) => out.set(pool.matchedBlocks) },
      nowMs: attempt.atMs,
      staleAfterMs: attempt.staleAfterMs,
      seed: attempt.seed,
      spared: sparesAlike(attempt, scheduler) ? pool.spared : undefined,
    },
    recorder,
  );
  const dropped = picked.ok ? {} : { dropped: { reason: picked.reason, detail: picked.detail } };
  const { configVersion, seed } = attempt;
  recorder.finish(pool, { attempt: attempt.attempt, configVersion, scheduler, seed, ...dropped });
  const replayed = explainAttempt(ring.find(request.requestId)[0]!);
  return { isSame: isSameChoice(attempt, replayed), replayed, notes: substitution.notes() };
}

/**
 * Whom an isolate spares depends on what others send, and not on how it scores. An object does so for an isolate's proposal, which
 * another configuration would not have made.
 */
function sparesAlike({ decided, scheduler }: ReplayableAttempt, by: SchedulerConfig): boolean {
  return (
    by === scheduler || decided?.where === "local" || schedulerHash(by) === schedulerHash(scheduler)
  );
}

function isSameChoice(a: ReplayableAttempt, b: WrittenAttempt): boolean {
  if ((a.dropped?.reason ?? null) !== (b.dropped?.reason ?? null)) return false;
  const isComparable = comparableIn(a);
  if (!isSameOrder(a.chosen.filter(isComparable), b.chosen.filter(isComparable))) return false;
  return ["prefill", "encode"].every((role) => {
    const before = a.runs.find((run) => run.role === role);
    const now = b.stages?.find((stage) => stage.role === role);
    const [was, is] = [before?.chosen ?? [], now?.chosen ?? []];
    return isSameOrder(was.filter(isComparable), is.filter(isComparable));
  });
}

/** Whom of the spared to fall back on is drawn from all of them, of which a record may have a part. */
function comparableIn({ candidates, candidateCount }: ReplayableAttempt) {
  const spared = new Set<string>();
  if (candidateCount > candidates.length)
    for (const { address, isSpared, total } of candidates)
      if (isSpared === true && total === null) spared.add(address);
  return (address: string) => !spared.has(address);
}

function isSameOrder(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((address, i) => address === b[i]);
}

/** The pool of a record: its candidates in their slots, and nobody else. */
class RebuiltPool {
  readonly columns: EndpointColumns;
  readonly matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  /** As PickInput has it; undefined where nobody was spared. */
  spared: Uint8Array | undefined;
  readonly #endpoints: (Endpoint | undefined)[] = [];

  constructor(columns: EndpointColumns) {
    this.columns = columns;
  }

  endpoint(slot: number): Endpoint | undefined {
    return this.#endpoints[slot];
  }

  add(candidate: ReplayableCandidate): void {
    const { slot, id, address, engine, labels } = candidate;
    this.#endpoints[slot] = { id, address, engine, labels };
    this.matchedBlocks[slot] = candidate.matchedBlocks;
    this.columns.isPresent[slot] = 1;
    if (candidate.isSpared === true) (this.spared ??= new Uint8Array(ENDPOINTS_MAX))[slot] = 1;
    for (const name of COLUMN_NAMES) this.columns[name][slot] = candidate.columns[name];
  }
}

function rebuildPool({ candidates, model }: ReplayableAttempt, unknown: UnknownReads): RebuiltPool {
  const columns = emptyColumns();
  const bySlot = new Map(candidates.map((candidate) => [candidate.slot, candidate]));
  const adaptersOf = (slot: number) => bySlot.get(slot)!.adapters;
  const adapters: AdapterTable = {
    stateOf(slot, modelName) {
      if (modelName !== model) unknown.read(`whether adapter ${modelName} is there`);
      return adaptersOf(slot).state;
    },
    activeCount: (slot) => adaptersOf(slot).active,
    waitingCount: (slot) => adaptersOf(slot).waiting,
    maxActive: (slot) => columns.loraMax[slot]!,
  };
  const pool = new RebuiltPool({
    slotCount: Math.max(...candidates.map(({ slot }) => slot)) + 1,
    isPresent: new Uint8Array(ENDPOINTS_MAX),
    ...columns,
    adapters,
    scalar(attributeKey) {
      unknown.read(`the metric ${attributeKey}`);
      return undefined;
    },
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

function rebuildRequest(attempt: ReplayableAttempt, unknown: UnknownReads): InferenceRequest {
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
    ...(typeof attempt.ttftSloMs === "number" ? { ttftSloMs: attempt.ttftSloMs } : {}),
    ...(typeof attempt.tpotSloMs === "number" ? { tpotSloMs: attempt.tpotSloMs } : {}),
    // Not recorded, for they may name people.
    get headers() {
      unknown.read("the request's headers");
      return {};
    },
    get media() {
      unknown.read("the request's media");
      return { hashes: new Uint32Array(0), tokens: new Uint32Array(0) };
    },
  };
}
