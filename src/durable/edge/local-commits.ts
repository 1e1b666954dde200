// What isolates have decided alone, brought into the object's account: the ledger, flow control, what caches
// are believed to hold, metrics, and what `explain` tells.
//
// Each commit is taken by itself: one that is not sound, or throws, is counted, and the others are as good.

import type { RecordOutcome } from "../../scheduler/decisions/local-decisions.ts";
import { type LocalRecord, RECORDS_A_SYNC_MAX } from "../../scheduler/decisions/packed-record.ts";
import { EDGE_BATCH_MAX, type LocalCommit, type LocalEnd } from "../../scheduler/edge/contracts.ts";
import type { QueuedRequest, TokenUsage } from "../../scheduler/flow-control/contracts.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Decider } from "../decider.ts";
import { countDecision, countSplit } from "../decision-counts.ts";
import type { Endpoints } from "../endpoints.ts";
import type { ResidentKnowledge } from "../kv/resident-knowledge.ts";
import type { PickQueue } from "../queue/pick-queue.ts";
import type { PoolShards } from "../shards/pool-shards.ts";
import type { TicketEnds } from "../ticket-ends.ts";
import type { TicketLedger } from "../tickets/ledger.ts";
import type { Committed, CommitOutcome } from "../tickets/local-tickets.ts";
import { NO_SLOT, type TicketEnd } from "../tickets/ticket.ts";
import { isHow, isSoundCommit, isSoundEnd } from "./check-commit.ts";

/** Closed set; a metric label. */
type EdgeOutcome = CommitOutcome | "malformed" | "beyond-batch" | "failed";

export interface LocalCommitsOptions {
  readonly clock: Clock;
  readonly ledger: TicketLedger;
  readonly ends: TicketEnds;
  readonly decider: Decider;
  readonly endpoints: Endpoints;
  readonly resident: ResidentKnowledge;
  readonly registry: MetricRegistry;
  /** undefined where flow control is off. */
  readonly queue: () => PickQueue | undefined;
  readonly shards: Pick<PoolShards, "observe" | "spend">;
}

export class LocalCommits {
  readonly #options: LocalCommitsOptions;

  constructor(options: LocalCommitsOptions) {
    this.#options = options;
  }

  /** Commits before ends: what ends has been decided on before. */
  apply(commits: readonly LocalCommit[], ends: readonly LocalEnd[]): void {
    for (const commit of commits.slice(0, EDGE_BATCH_MAX)) this.#count(this.#tryCommit(commit));
    for (const end of ends.slice(0, EDGE_BATCH_MAX)) this.#end(end);
    const beyond = beyondBatch(commits) + beyondBatch(ends);
    if (beyond > 0) this.#count("beyond-batch", beyond);
  }

  /**
   * The object has granted another endpoint, as the ticket `other` of `attempt`, in place of where it was sent: both count until the first
   * has ended, and one is paid for.
   */
  calledOff(sent: LocalCommit, { other, attempt }: { other: string; attempt: number }): void {
    this.apply([sent], []);
    this.#options.ledger.callOff(sent.ticket, other);
    this.#passed({ ...sent, attempt }, undefined);
  }

  /** Whom isolates considered, after what they chose: `explain` and pages of decisions show it. */
  keepRecords(records: readonly LocalRecord[]): void {
    for (const record of records.slice(0, RECORDS_A_SYNC_MAX))
      this.#options.registry.inc(METRIC.edgeRecordsTotal, { outcome: this.#tryRecord(record) });
  }

  #tryRecord(record: LocalRecord): RecordOutcome {
    const { decider } = this.#options;
    try {
      return decider.local.record(record, decider.schedulerHash);
    } catch {
      // A field that this release goes by is missing.
      return "malformed";
    }
  }

  #tryCommit(commit: LocalCommit): EdgeOutcome {
    try {
      return isSoundCommit(commit) ? this.#commit(commit) : "malformed";
    } catch (error) {
      // A field that this release goes by is missing, or a plugin has failed.
      return error instanceof TypeError ? "malformed" : "failed";
    }
  }

  #commit(commit: LocalCommit): CommitOutcome {
    const { ledger, endpoints, ends } = this.#options;
    const slot = endpoints.slotOfAddress(commit.endpoints[0]!);
    ledger.supersede(commit.requestId, commit.attempt, commit.ticket);
    const committed = ledger.local.commit({
      id: commit.ticket,
      requestId: commit.requestId,
      attempt: commit.attempt,
      tenant: commit.tenant,
      model: commit.model,
      priority: commit.priority,
      keys: commit.keys,
      promptTokens: commit.promptTokens,
      outputTokens: commit.outputTokens,
      reservedTokens: commit.reservedTokens,
      endpoints: commit.endpoints,
      decidedAgoMs: commit.decidedAgoMs,
      slot,
      prefill: this.#prefillOf(commit.prefill),
      isWorkers: endpoints.hasUpstreams,
    });
    if (committed.settlement !== undefined) ends.settled(committed.settlement);
    if (isNews(committed)) this.#heardOf(commit, slot, committed);
    return committed.outcome;
  }

  /** The first that is heard of it from whoever decided on it. */
  #heardOf(commit: LocalCommit, slot: number, { outcome, end }: Committed): void {
    const { decider, resident, clock } = this.#options;
    const { keys } = commit;
    this.#countDecision(commit, slot);
    this.#options.shards.observe(keys);
    const { configVersion, scheduler } = decider;
    decider.local.add(commit, { atMs: clock() - commit.decidedAgoMs, configVersion, scheduler });
    // Its engine may not have told of the prompt yet, though the request has ended.
    const isThere = outcome !== "ended" || (end?.isPromptCached === true && end.slot === slot);
    if (isThere && slot !== NO_SLOT) {
      const prefill = this.#prefillOf(commit.prefill)?.slot;
      const slots = Int32Array.of(slot);
      const isSplit = prefill !== undefined;
      resident.picked(keys, isSplit ? { slots, prefill: Int32Array.of(prefill) } : { slots });
    }
    this.#passed(commit, end);
    if (end?.result !== undefined) decider.ended(commit.requestId, commit.attempt, end.result);
  }

  #countDecision(commit: LocalCommit, slot: number): void {
    const { decider, endpoints, registry } = this.#options;
    const { model, keys, promptTokens, prefill } = commit;
    const endpoint = endpoints.table.endpoint(slot)?.id ?? "";
    countDecision(registry, { status: "success", model, endpoint });
    if (decider.picker !== undefined) countSplit(registry, decider.picker, model, { prefill });
    if (keys.length === 0 || promptTokens <= 0) return;
    const labels = { plugin_name: "prefix-cache-scorer" };
    const hitRatio = Math.max(0, 1 - uncachedTokens(commit) / promptTokens);
    registry.observe(METRIC.prefixIndexerHitRatio, labels, hitRatio);
  }

  /** A local pick is a dispatch: its flow is charged, and it is in flight until it ends. */
  #passed(commit: LocalCommit, end: TicketEnd | undefined): void {
    const queue = this.#options.queue();
    if (queue === undefined) return;
    this.#options.shards.spend();
    queue.passed(queuedRequestOf(commit, this.#options.clock()));
    if (end !== undefined) queue.settled(commit.requestId, commit.attempt, usageOf(end));
  }

  #end(end: LocalEnd): void {
    const { ticket, attempt, how } = end;
    if (isSoundEnd(end) && isHow(how)) this.#options.ledger.endLocal(ticket, attempt, how);
    else this.#count("malformed");
  }

  #prefillOf(prefill: LocalCommit["prefill"]) {
    const [address] = prefill?.endpoints ?? [];
    if (prefill === undefined || address === undefined) return undefined;
    const slot = this.#options.endpoints.slotOfAddress(address);
    const { endpoints, uncachedTokens } = prefill;
    return slot === NO_SLOT ? undefined : { slot, tries: endpoints.length, uncachedTokens };
  }

  #count(outcome: EdgeOutcome, by = 1): void {
    this.#options.registry.inc(METRIC.edgeCommitsTotal, { outcome }, by);
  }
}

function isNews({ outcome, end }: Committed): boolean {
  return outcome === "opened" || outcome === "completed" || end !== undefined;
}

function beyondBatch(entries: readonly unknown[]): number {
  return Math.max(0, entries.length - EDGE_BATCH_MAX);
}

/** Of who computes the prompt. */
function uncachedTokens({ reservedTokens, outputTokens, prefill }: LocalCommit): number {
  return prefill?.uncachedTokens ?? Math.max(0, reservedTokens - outputTokens);
}

/** As flow control sees it: without keys, for it does not wait. */
function queuedRequestOf(commit: LocalCommit, nowMs: number): QueuedRequest {
  const { requestId, attempt, fairnessId, priority, weight, promptTokens, outputTokens } = commit;
  return {
    requestId,
    attempt,
    fairnessId,
    priority,
    weight,
    bytes: 0,
    promptTokens,
    uncachedTokens: uncachedTokens(commit),
    outputTokens,
    receivedAtMs: nowMs - commit.decidedAgoMs,
    keys: NO_KEYS,
    blocksPerKey: 1,
  };
}

/** Undefined where the engine has not told: what was expected stands. */
function usageOf({ promptTokens, cachedTokens, completionTokens }: TicketEnd) {
  if (promptTokens === null || completionTokens === null) return undefined;
  const uncached = Math.max(0, promptTokens - (cachedTokens ?? 0));
  return {
    promptTokens,
    uncachedTokens: uncached,
    outputTokens: completionTokens,
  } satisfies TokenUsage;
}

const NO_KEYS = new Uint32Array(0);
