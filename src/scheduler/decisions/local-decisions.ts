// Decisions that isolates have taken alone, as far as they have told of them: what was chosen, why there, and how it
// went. Whom else they considered is known of those whose records they have sent.
//
// Kept as they came: most are never read, and a record stays packed until somebody asks for it.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { LocalCommit } from "../edge/contracts.ts";
import { localWhere } from "./decided-where.ts";
import { type BareAttempt, NOBODY_SEEN, type WrittenAttempt } from "./document.ts";
import { explainAttempt } from "./explain.ts";
import {
  isPackedRecord,
  type LocalRecord,
  type PackedRecord,
  sizeOfRecord,
  unpackRecord,
} from "./packed-record.ts";
import type { DecisionResult } from "./record.ts";
import { createNumbers } from "./ring.ts";

/** The oldest go for new ones. */
export const LOCAL_DECISION_LIMITS = {
  /** About 500 bytes each. */
  decisionsMax: 4_096,
  /** Of names and addresses. */
  charsMax: 2 * 1024 * 1024,
  /** Of all records; past it decisions stay, without their records. */
  recordBytesMax: 4 * 1024 * 1024,
  /** Configurations that have decided. */
  schedulersMax: 16,
} as const;
/** Of one request; later ones are not kept. */
export const LOCAL_ATTEMPTS_MAX = 4;

/** A decision as it is told by its isolate, and as the object hears of it. */
export interface ToldAt {
  /** Unix ms, by the object's clock. */
  readonly atMs: number;
  readonly configVersion: number;
  /** In force in the object; one object while it is. */
  readonly scheduler: SchedulerConfig | undefined;
}

/** What becomes of a record. Closed set; a metric label. */
export type RecordOutcome =
  | "kept"
  /** Too large, or of a release that packs them otherwise. */
  | "malformed"
  /** Decided by a configuration that is not in force here. */
  | "other-configuration"
  /** Nobody has told of its decision. */
  | "unknown";

interface Kept extends ToldAt {
  readonly number: number;
  readonly requestId: string;
  readonly attempt: number;
  readonly facts: Pick<BareAttempt, "model" | "tenant" | "priority" | "promptTokens">;
  readonly totalBlocks: number;
  readonly chosen: readonly string[];
  readonly terms: LocalCommit["terms"];
  readonly chars: number;
  result: DecisionResult | null;
  record: PackedRecord | undefined;
  /** The one before for the same request. */
  previous: Kept | undefined;
}

/** A decision that is there to be read. */
export interface KeptLocal {
  /** Later ones have higher numbers. */
  readonly number: number;
  readonly requestId: string;
  readonly atMs: number;
  readonly scheduler: SchedulerConfig | undefined;
  readonly read: () => WrittenAttempt | BareAttempt;
}

/** The latest. */
export class LocalDecisions {
  readonly #nextNumber: () => number;
  /** By number, oldest first. */
  readonly #kept = new Map<number, Kept>();
  readonly #newestByRequest = new Map<string, Kept>();
  /** By number, oldest first: those with a record. */
  readonly #recorded = new Map<number, Kept>();
  /** Of those that are kept, oldest first. */
  #schedulers: SchedulerConfig[] = [];
  #chars = 0;
  #recordBytes = 0;

  /** `nextNumber` rises: whoever keeps other decisions, too, numbers all of them. */
  constructor(nextNumber: () => number = createNumbers()) {
    this.#nextNumber = nextNumber;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Of records alone. */
  get recordBytes(): number {
    return this.#recordBytes;
  }

  /** When the oldest was taken that is kept; undefined without any. */
  get oldestAtMs(): number | undefined {
    const [oldest] = this.#kept.values();
    return oldest?.atMs;
  }

  /** Takes the place of an earlier one about the same attempt. */
  add(commit: LocalCommit, at: ToldAt): void {
    const { requestId, attempt, endpoints, keys, terms } = commit;
    const known = this.#find(requestId, attempt);
    if (known !== undefined) this.#forget(known);
    const previous = this.#newestByRequest.get(requestId);
    if (attemptsOf(previous) >= LOCAL_ATTEMPTS_MAX) return;
    const { model, tenant, priority, promptTokens } = commit;
    const kept: Kept = {
      atMs: at.atMs,
      configVersion: at.configVersion,
      scheduler: at.scheduler,
      number: this.#nextNumber(),
      requestId,
      attempt,
      facts: { model, tenant, priority, promptTokens },
      totalBlocks: keys.length / 2,
      chosen: endpoints,
      terms,
      chars: charsOf(commit),
      result: null,
      record: undefined,
      previous,
    };
    this.#kept.set(kept.number, kept);
    this.#newestByRequest.set(requestId, kept);
    this.#chars += kept.chars;
    this.#boundSchedulers(at.scheduler);
    this.#bound();
  }

  /** `schedulerHash`: of the configuration that is in force here. */
  record(record: LocalRecord, schedulerHash: string | undefined): RecordOutcome {
    const { requestId, attempt, layout, numbers, names } = record;
    if (!isPackedRecord(record)) return "malformed";
    if (record.schedulerHash !== schedulerHash) return "other-configuration";
    const kept = this.#find(requestId, attempt);
    if (kept?.scheduler === undefined) return "unknown";
    this.#forgetRecord(kept);
    kept.record = { layout, schedulerHash, numbers, names };
    this.#recorded.set(kept.number, kept);
    this.#recordBytes += sizeOfRecord(kept.record);
    this.#bound();
    return "kept";
  }

  /** How an attempt went; of one that is not kept it changes nothing. */
  ended(requestId: string, attempt: number, result: DecisionResult): void {
    const kept = this.#find(requestId, attempt);
    if (kept !== undefined) kept.result = result;
  }

  has(requestId: string, attempt: number): boolean {
    return this.#find(requestId, attempt) !== undefined;
  }

  /** All attempts of a request that are kept. */
  find(requestId: string): (WrittenAttempt | BareAttempt)[] {
    const found: (WrittenAttempt | BareAttempt)[] = [];
    let kept = this.#newestByRequest.get(requestId);
    for (; kept !== undefined; kept = kept.previous) found.push(explainLocal(kept));
    return found.reverse();
  }

  /** The newest first, of those whose numbers are below `before`. */
  *newest(before = Infinity): Generator<KeptLocal> {
    for (const kept of [...this.#kept.values()].toReversed()) {
      const { number, requestId, atMs, scheduler } = kept;
      if (number < before)
        yield { number, requestId, atMs, scheduler, read: () => explainLocal(kept) };
    }
  }

  #find(requestId: string, attempt: number): Kept | undefined {
    let kept = this.#newestByRequest.get(requestId);
    while (kept !== undefined && kept.attempt !== attempt) kept = kept.previous;
    return kept;
  }

  /** A configuration is kept for as long as what it has decided: those of the oldest go for a new one. */
  #boundSchedulers(scheduler: SchedulerConfig | undefined): void {
    if (scheduler === undefined || this.#schedulers.at(-1) === scheduler) return;
    this.#schedulers.push(scheduler);
    if (this.#schedulers.length <= LOCAL_DECISION_LIMITS.schedulersMax) return;
    const oldest = this.#schedulers.shift();
    if (this.#schedulers.includes(oldest!)) return;
    for (const kept of this.#kept.values()) if (kept.scheduler === oldest) this.#forget(kept);
  }

  #bound(): void {
    const { decisionsMax, charsMax, recordBytesMax } = LOCAL_DECISION_LIMITS;
    while (this.#kept.size > decisionsMax || this.#chars > charsMax) {
      const [oldest] = this.#kept.values();
      this.#forget(oldest!);
    }
    while (this.#recordBytes > recordBytesMax) {
      const [oldest] = this.#recorded.values();
      this.#forgetRecord(oldest!);
    }
  }

  #forgetRecord(kept: Kept): void {
    if (kept.record === undefined) return;
    this.#recordBytes -= sizeOfRecord(kept.record);
    this.#recorded.delete(kept.number);
    kept.record = undefined;
  }

  #forget(kept: Kept): void {
    this.#forgetRecord(kept);
    this.#kept.delete(kept.number);
    this.#chars -= kept.chars;
    const newest = this.#newestByRequest.get(kept.requestId);
    if (newest !== kept) {
      let later = newest;
      while (later !== undefined && later.previous !== kept) later = later.previous;
      if (later !== undefined) later.previous = kept.previous;
    } else if (kept.previous === undefined) this.#newestByRequest.delete(kept.requestId);
    else this.#newestByRequest.set(kept.requestId, kept.previous);
  }
}

function attemptsOf(newest: Kept | undefined): number {
  let count = 0;
  for (let kept = newest; kept !== undefined; kept = kept.previous) count += 1;
  return count;
}

function charsOf({ requestId, model, tenant, endpoints }: LocalCommit): number {
  const names = requestId.length + model.length + tenant.length;
  return endpoints.reduce((chars, address) => chars + address.length, names);
}

/** As its record has it, or without the other candidates where there is none. */
function explainLocal(kept: Kept): WrittenAttempt | BareAttempt {
  const { requestId, attempt, record, scheduler, result } = kept;
  const decided = localWhere(kept.terms);
  const unpacked =
    record === undefined || scheduler === undefined
      ? undefined
      : unpackRecord(record, requestId, scheduler);
  if (unpacked !== undefined && unpacked.attempt === attempt)
    return { ...explainAttempt(unpacked), result, decided };
  return {
    attempt,
    atMs: kept.atMs,
    ...kept.facts,
    totalBlocks: kept.totalBlocks,
    configVersion: kept.configVersion,
    ...NOBODY_SEEN,
    chosen: [...kept.chosen],
    dropped: null,
    result,
    decided,
  };
}
