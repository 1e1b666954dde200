// The object's side of deciding at the edge: hears what isolates have decided alone, and gives them what they
// need to go on, a snapshot of the pool and credit.

import type { CreditAsk } from "../../scheduler/credits/contracts.ts";
import type { EdgeKnown, EdgeSnapshot } from "../../scheduler/edge/contracts.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { EdgeSync, EdgeSynced, PickGrant } from "../contract.ts";
import type { Endpoints } from "../endpoints.ts";
import type { ResidentKnowledge } from "../kv/resident-knowledge.ts";
import type { Picks } from "../picks.ts";
import type { PrefixMemory } from "../prefix/memory.ts";
import type { PoolShards } from "../shards/pool-shards.ts";
import { PoolCredit } from "./pool-credit.ts";
import { type EdgeFacts, PoolSnapshots } from "./pool-snapshots.ts";

/** What an isolate asks for beside a pick. */
export interface EdgeAsked {
  readonly edge?: EdgeKnown | undefined;
  readonly credit?: CreditAsk | undefined;
}

export interface EdgeDeskOptions {
  /** Random at each construction of the object. */
  readonly epoch: string;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
  readonly endpoints: Endpoints;
  readonly prefixes: PrefixMemory;
  readonly resident: ResidentKnowledge;
  readonly picks: Picks;
  readonly shards: PoolShards;
  /** The pool's name; undefined while it is not configured. */
  readonly pool: () => string | undefined;
  readonly summary: () => PoolSummary | undefined;
}

export class EdgeDesk {
  readonly #options: EdgeDeskOptions;
  readonly #snapshots: PoolSnapshots;
  readonly #credit: PoolCredit;

  constructor(options: EdgeDeskOptions) {
    this.#options = options;
    const { epoch, clock, registry, picks, shards } = options;
    this.#snapshots = this.#createSnapshots();
    // One that does not count any more has others decide.
    const isLeaving = () => shards.moved() !== undefined;
    const room = () => (isLeaving() ? 0 : shards.roomOf(picks.creditRoom()));
    this.#credit = new PoolCredit({ epoch, clock, room });
    registry.onRender(() => {
      const name = options.pool() ?? "";
      registry.set(METRIC.edgeCreditOutstanding, { name }, this.#credit.outstanding);
    });
  }

  /** Commits first: the snapshot and the credit know of them. */
  sync({ known, credit, commits, ends, records }: EdgeSync): EdgeSynced {
    const { registry, pool, picks } = this.#options;
    const isConfigured = pool() !== undefined;
    const outcome = isConfigured ? "answered" : "not-configured";
    registry.inc(METRIC.edgeSyncsHeardTotal, { outcome });
    if (!isConfigured) return {};
    picks.commits.apply(commits, ends);
    if (records !== undefined) picks.commits.keepRecords(records);
    // Whoever tells has what it touches looked at: so what was told before is in every later snapshot.
    const isTold = commits.length + ends.length > 0;
    const { edge: snapshot, ...granted } = this.#answer({ edge: known, credit }, isTold);
    return { ...granted, ...(snapshot === undefined ? {} : { snapshot }) };
  }

  /** What goes with a grant, where its request asks for it. */
  withGrant(asked: EdgeAsked): Pick<PickGrant, "edge" | "credit"> {
    const isAsked = asked.edge !== undefined || asked.credit !== undefined;
    // What it was granted, or has told, is in it.
    return isAsked && this.#options.pool() !== undefined ? this.#answer(asked, true) : {};
  }

  /** What the endpoint in the slot held is gone. */
  slotVoid(): void {
    this.#snapshots.slotVoid();
  }

  /** Lets go of what nobody asks for any more. */
  sweep(): void {
    this.#snapshots.sweep();
  }

  #answer({ edge, credit }: EdgeAsked, isCurrent: boolean): Pick<PickGrant, "edge" | "credit"> {
    const snapshot = edge && this.#snapshots.take(edge, isCurrent);
    const granted = credit && this.#credit.grant(credit);
    if (snapshot !== undefined) this.#count(snapshot);
    return {
      ...(snapshot === undefined ? {} : { edge: snapshot }),
      ...(granted === undefined ? {} : { credit: granted }),
    };
  }

  #count({ base, rows, digest }: EdgeSnapshot): void {
    const { registry } = this.#options;
    const kind = base === null ? "whole" : "delta";
    const { bytes, added } = digest ?? {};
    const digestBytes = (bytes?.byteLength ?? 0) + (added?.byteLength ?? 0);
    registry.inc(METRIC.edgeSnapshotsTotal, { kind });
    registry.inc(METRIC.edgeSnapshotBytesTotal, { kind }, rows.byteLength + digestBytes);
  }

  #createSnapshots(): PoolSnapshots {
    const { epoch, clock, endpoints, prefixes, resident, summary } = this.#options;
    return new PoolSnapshots({
      epoch,
      clock,
      table: endpoints.table,
      // As the digest of the whole pool is made.
      pairTables: () =>
        resident.isAnyApproximate
          ? [prefixes.tree.pairs, ...resident.pairTables]
          : resident.pairTables,
      isComplete: () => prefixes.journal.isRestored,
      defer: (callback) => void setTimeout(callback, 0),
      facts: () => this.#facts(),
      summary,
    });
  }

  #facts(): EdgeFacts | undefined {
    const { picks, shards, resident } = this.#options;
    const outlook = picks.admission.outlook();
    if (outlook === undefined) return undefined;
    const { configVersion, schedulerHash, staleAfterMs } = picks.decider;
    const { saturation, waiting, isHeld } = outlook;
    const { map } = shards;
    return {
      configVersion,
      ...(schedulerHash === undefined ? {} : { schedulerHash }),
      staleAfterMs,
      saturation,
      waiting,
      isHeld,
      ...(map === undefined ? {} : { shards: map }),
      wantsContent: resident.wantsContent,
    };
  }
}
