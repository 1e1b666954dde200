// What a relay tells the objects of its pool: of each ticket the one that has granted it, which the request's
// id names. An object that has nothing to do with a ticket any more, or never had, is told of none.
//
//   request id ──► shard ──► its outbox and its reports of beginnings ──► its session
//
// Marks are about endpoints, which all objects share: each is told.

import type { Evict, Mark, TicketClosed, TicketPrefilled } from "../protocol/messages.ts";
import { shardOfRequest } from "../protocol/request-shard.ts";
import type { PoolSession, SessionEvents, SessionOptions } from "../session/pool-session.ts";
import { type LeavingTiming, ShardSessions, type ShardUse } from "../session/shard-sessions.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Carried, Evictions } from "./evictions.ts";
import type { EndpointMarks } from "./endpoint-marks.ts";
import { tellMarks } from "./mark-reports.ts";
import { StartedReports } from "./started-reports.ts";
import {
  type OpenTicket,
  OUTBOX_REPORTS_MAX,
  TicketOutbox,
  type TicketSubject,
} from "./ticket-outbox.ts";

export type ShardReportsOptions = Omit<SessionOptions, "role" | "events" | "shard"> & {
  readonly marks: Pick<EndpointMarks, "standing">;
  readonly evictions: Pick<Evictions, "begun" | "evict">;
  readonly leaving?: Partial<LeavingTiming>;
};

export class ShardReports {
  readonly #options: ShardReportsOptions;
  readonly #sessions: ShardSessions<ReportedShard>;

  constructor(options: ShardReportsOptions) {
    this.#options = options;
    this.#sessions = new ShardSessions({
      ...options,
      role: "relay",
      open: (shard, session) => this.#open(shard, session),
    });
    this.#share();
  }

  /** All objects that are counted hear it. */
  get isConnected(): boolean {
    return this.#sessions.isEstablished;
  }

  /** Reports not yet acknowledged. */
  get size(): number {
    let sum = 0;
    for (const { outbox } of this.#sessions.uses) sum += outbox.size;
    return sum;
  }

  /** See TicketOutbox, as what follows. */
  opened(subject: TicketSubject, endpoint: string, isExpected: boolean): void {
    this.#outboxOf(subject.requestId, subject).opened(subject, endpoint, isExpected);
  }

  prefilled(requestId: string, report: TicketPrefilled): void {
    this.#outboxOf(requestId, report).prefilled(report);
  }

  closed(report: TicketClosed): void {
    this.#outboxOf(report.requestId ?? "", report).closed(report);
  }

  /** An answer has begun; see StartedReports. */
  begun(carried: Carried): void {
    this.#known(carried.shard).started.add(carried);
  }

  ended(carried: Carried): void {
    this.#known(carried.shard).started.ended(carried);
  }

  /** What was just seen of endpoints. */
  mark(marks: readonly Mark[]): void {
    for (const { session } of this.#sessions.uses) tellMarks(session, marks);
  }

  renew(): void {
    for (const { outbox } of this.#sessions.uses) outbox.renew();
  }

  /** Resolves when everything is acknowledged, or after `msMax`. Sends at once. */
  async drain(msMax: number): Promise<void> {
    await Promise.all(this.#sessions.uses.map(({ outbox }) => outbox.drain(msMax)));
  }

  /** Nothing is said from now on but what is on its way. */
  async close(): Promise<void> {
    for (const use of this.#sessions.uses) use.stop();
    await this.#sessions.close();
  }

  /** Of the object that has granted the ticket, or of the first one, which it was handed over to. */
  #outboxOf(requestId: string, ticket: OpenTicket): TicketOutbox {
    const first = this.#sessions.use(0)!;
    if (first.outbox.hasOpen(ticket)) return first.outbox;
    // Where there can be no such shard, the pool's own object knows best what to make of it.
    return (this.#sessions.wanted(shardOfRequest(requestId)) ?? first).outbox;
  }

  /** Without dialling: a ticket's object is known, or was left, from when it was opened. */
  #known(shard: number): ReportedShard {
    return this.#sessions.use(shard) ?? this.#sessions.use(0)!;
  }

  #open(shard: number, session: PoolSession): ReportedShard {
    const use = new ReportedShard(this.#options, { shard, session }, () => {
      use.outbox.handOver(this.#sessions.use(0)!.outbox);
      use.stop();
      this.#share();
    });
    // Not yet: the one that opens is not among the sessions.
    queueMicrotask(() => this.#share());
    return use;
  }

  #share(): void {
    const uses = this.#sessions.uses;
    for (const { outbox } of uses) outbox.reportsMax = Math.floor(OUTBOX_REPORTS_MAX / uses.length);
  }
}

/** What one object is told. */
class ReportedShard implements ShardUse {
  readonly session: PoolSession;
  readonly outbox: TicketOutbox;
  readonly started = new StartedReports();
  readonly events: SessionEvents;
  readonly #onClosed: () => void;

  constructor(
    { marks, evictions, registry }: ShardReportsOptions,
    { shard, session }: { readonly shard: number; readonly session: PoolSession },
    onClosed: () => void,
  ) {
    const outbox = new TicketOutbox((count) => {
      registry.inc(METRIC.relayOutboxDroppedTotal, {}, count);
    });
    const { started } = this;
    this.session = session;
    this.outbox = outbox;
    this.#onClosed = onClosed;
    this.events = {
      onAck: (acknowledged) => outbox.acked(acknowledged),
      onResync: () => {
        outbox.resync();
        tellMarks(session, marks.standing());
      },
      // Another object may be at the other end: it has not said yet that it wants to know.
      onWelcome() {
        started.configure(false, []);
        outbox.hold();
      },
      onConfigure({ reportsFirstByte = false, reportsStages = false }) {
        started.configure(reportsFirstByte, evictions.begun(shard));
        outbox.configure(reportsStages);
      },
      onEvict: (evict: Evict) => {
        const outcome = evictions.evict(evict);
        if (outcome === "begun") started.add(evict);
        registry.inc(METRIC.relayEvictionsTotal, { outcome });
      },
    };
    outbox.attach(session);
    started.attach(session);
  }

  get isDone(): boolean {
    return this.outbox.isDone;
  }

  closed(): void {
    this.#onClosed();
  }

  /** Nothing more is gathered. */
  stop(): void {
    this.outbox.close();
    this.started.close();
  }
}
