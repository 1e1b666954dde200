// Reports of tickets on their way to the pool's object. A report stays until the object says that
// it is durable. After a reconnect everything unacknowledged is sent again, and an `opened` for
// every ticket still open, so that an object that lost its memory rebuilds its ledger.
//
//      durable or given up  │  sent            │  not sent on this connection
//   ────────────────────────┼──────────────────┼──────────────────────────────
//                           └ #oldest          └ #oldest + #sentCount
//
// Reports are numbered from 1 and kept in order without a gap, so that the object applies each once:
// one that is said again has the number it had. An object of version 1 knows no numbers; it is told
// by frames, and ignores what it does not expect.
//
// An object says in its `configure` whether it wants to know of stages, and nothing leaves before it has, or not
// for long. One that does not is told in place of a `prefilled` the `opened` that it was told last of the ticket:
// the number is kept, and nothing new is said.
//
// Of a request that an isolate has decided on the object knows without its relay: its beginning is held back
// (held-openings.ts), and its end waits longer for others to go with. Nobody waits for its place: where somebody
// does, isolates have no credit.

import { encodeFrame, FRAME, type FramePlace } from "../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type {
  TicketClosed,
  TicketOpened,
  TicketPrefilled,
  TicketReport,
} from "../protocol/messages.ts";
import { isEdgeTicket } from "../protocol/ticket-name.ts";
import { SINCE_VERSION } from "../protocol/version.ts";
import type { Acknowledged } from "../session/pool-session.ts";
import { HeldOpenings } from "./held-openings.ts";

/** Unacknowledged reports kept while the object is away; the oldest leave first. */
export const OUTBOX_REPORTS_MAX = 20_000;
/** Payload of one frame, well below the protocol's limit. */
const FRAME_PAYLOAD_BYTES_MAX = 256 * 1024;
/** How long reports gather into one frame. */
const GATHER_MS = 10;
/** The same of what isolates have decided. Of short answers ends come before commits, which is as good to the object. */
export const EDGE_GATHER_MS = 30;
/** Pace of new attempts while the session is down or its buffer full. */
const RETRY_MS = 200;
/** How long an object's `configure` is waited for, which follows its `welcome`. */
export const CONFIGURE_MS_MAX = 500;

type PlainReport = Exclude<TicketReport, TicketPrefilled>;

interface Entry {
  readonly report: TicketReport;
  /** What an object is told instead that does not want to know of stages. */
  readonly plain: PlainReport;
  /** The frame of version 1 it left in on this connection; 0 if it left in none. */
  seq: number;
}

/** The part of a session an outbox needs. */
export interface ReportSender {
  send(encode: (place: FramePlace) => Uint8Array): boolean;
}

/** What a ticket is for, as far as the relay knows. */
export interface TicketSubject {
  readonly ticket: string;
  readonly attempt: number;
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
}

/** What names a ticket that is open. */
export type OpenTicket = Pick<TicketReport, "ticket" | "attempt">;

export class TicketOutbox {
  readonly #open = new Map<string, TicketOpened>();
  readonly #held = new HeldOpenings((report) => this.#add(report, report));
  #entries: Entry[] = [];
  /** Number of the first entry. */
  #oldest = 1;
  /** Entries, from the first on, that were sent on this connection. */
  #sentCount = 0;
  #sender: ReportSender | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The timer may be set to an earlier moment: it waits for nothing but more reports. */
  #isInNoHurry = false;
  /** The object at the other end wants to know of stages. */
  #tellsStages = false;
  /** Set while nothing is said because nobody knows what the object wants to know. */
  #unconfigured: NodeJS.Timeout | undefined;
  readonly #onDropped: (count: number) => void;
  #onEmpty: (() => void)[] = [];
  /** Reports kept, at most. */
  #reportsMax = OUTBOX_REPORTS_MAX;

  /** `onDropped` is told how many reports were given up because the outbox was full. */
  constructor(onDropped: (count: number) => void = () => undefined) {
    this.#onDropped = onDropped;
  }

  /** Several outboxes share the room that there is. */
  set reportsMax(count: number) {
    this.#reportsMax = count;
    this.#dropExcess();
  }

  /** Reports go to `sender` from now on. */
  attach(sender: ReportSender): void {
    this.#sender = sender;
    this.#schedule(GATHER_MS);
  }

  /** Another object may be connected: nothing is said until it has said what it wants to know, or not for long. */
  hold(): void {
    clearTimeout(this.#unconfigured);
    this.#unconfigured = setTimeout(() => this.configure(false), CONFIGURE_MS_MAX);
  }

  /** Whether the object that is connected wants to know of stages. */
  configure(tellsStages: boolean): void {
    this.#tellsStages = tellsStages;
    if (this.#unconfigured === undefined) return;
    clearTimeout(this.#unconfigured);
    this.#unconfigured = undefined;
    this.#schedule(0);
  }

  /** Reports not yet acknowledged. */
  get size(): number {
    return this.#entries.length;
  }

  /** Whether everything that was to be said is durable, and no ticket is open of which more will be. */
  get isDone(): boolean {
    return this.#entries.length === 0 && this.#open.size === 0;
  }

  /** Whether it was opened here, or handed over while it was, and has not been closed. */
  hasOpen(ticket: OpenTicket): boolean {
    return this.#open.has(keyOf(ticket));
  }

  /**
   * A ticket's endpoint is being tried; said again when another one is. `isExpected`: it is the one that whoever
   * granted the ticket has put first.
   */
  opened(subject: TicketSubject, endpoint: string, isExpected = false): void {
    const report: TicketOpened = { kind: "opened", ...subject, endpoint };
    const key = keyOf(report);
    this.#open.set(key, report);
    this.#held.take(key);
    if (isExpected && isEdgeTicket(report.ticket)) this.#held.hold(key, report);
    else this.#add(report, report);
  }

  /** An endpoint has done with a ticket's prefill. Nobody needs to know of one that is not open. */
  prefilled(report: TicketPrefilled): void {
    const key = keyOf(report);
    const opened = this.#open.get(key);
    if (opened === undefined) return;
    const held = this.#held.take(key);
    if (held !== undefined) this.#add(held, held);
    this.#add(report, opened);
  }

  closed(report: TicketClosed): void {
    const key = keyOf(report);
    this.#open.delete(key);
    this.#held.take(key);
    const { stages, ...plain } = report;
    this.#add(report, stages === undefined ? report : plain);
  }

  /** What the object holds durably leaves. */
  acked({ seq, report }: Acknowledged): void {
    const byNumber = report === undefined ? 0 : Math.max(0, report - this.#oldest + 1);
    let count = Math.min(byNumber, this.#entries.length);
    for (; count < this.#sentCount; count++) {
      const sentIn = this.#entries[count]!.seq;
      if (sentIn === 0 || sentIn > seq) break;
    }
    this.#remove(count);
    if (this.#entries.length > 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }

  /** The object may have forgotten: says everything unacknowledged and every open ticket again. */
  resync(): void {
    this.#sentCount = 0;
    for (const entry of this.#entries) entry.seq = 0;
    this.renew();
    this.#schedule(0);
  }

  /** Says again which tickets are open, so that long answers do not outlive the object's lease. */
  renew(): void {
    this.#held.clear();
    const waiting = new Set(this.#entries.map((entry) => entry.report));
    for (const report of this.#open.values()) if (!waiting.has(report)) this.#add(report, report);
  }

  /**
   * Says to another object all that this one was to be told and did not acknowledge. What becomes of the tickets
   * that are open is for that one's outbox from now on.
   */
  handOver(to: TicketOutbox): void {
    for (const [key, report] of this.#open) to.#open.set(key, report);
    for (const { report, plain } of this.#entries) to.#add(report, plain);
    this.#open.clear();
    this.#held.clear();
    this.#remove(this.#entries.length);
    to.renew();
  }

  /** Resolves when everything is acknowledged, or after `msMax`. Sends at once. */
  async drain(msMax: number): Promise<void> {
    this.#flush();
    if (this.#entries.length === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, msMax);
      this.#onEmpty.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#unconfigured);
    this.#held.clear();
    this.#timer = undefined;
    this.#sender = undefined;
  }

  #add(report: TicketReport, plain: PlainReport): void {
    this.#entries.push({ report, plain, seq: 0 });
    this.#dropExcess();
    this.#schedule(isEdgeTicket(report.ticket) ? EDGE_GATHER_MS : GATHER_MS);
  }

  #dropExcess(): void {
    const excess = this.#entries.length - this.#reportsMax;
    if (excess <= 0) return;
    this.#remove(excess);
    this.#onDropped(excess);
  }

  /** Takes the first `count` entries out. */
  #remove(count: number): void {
    if (count === 0) return;
    this.#entries.splice(0, count);
    this.#oldest += count;
    this.#sentCount = Math.max(0, this.#sentCount - count);
  }

  #schedule(delayMs: number): void {
    if (this.#sender === undefined) return;
    const isSooner = this.#isInNoHurry && delayMs < EDGE_GATHER_MS;
    if (this.#timer !== undefined && !isSooner) return;
    clearTimeout(this.#timer);
    this.#isInNoHurry = delayMs === EDGE_GATHER_MS;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, delayMs);
  }

  #flush(): void {
    if (this.#unconfigured !== undefined) return;
    while (this.#sentCount < this.#entries.length) {
      const { entries, texts } = this.#nextBatch();
      const numbers = `"oldest":${this.#oldest},"first":${this.#oldest + this.#sentCount}`;
      let seq = 0;
      const isSent = this.#sender?.send((place) => {
        const isNumbered = place.version >= SINCE_VERSION.numberedReports;
        if (!isNumbered) seq = place.seq;
        const json = isNumbered
          ? `{${numbers},"reports":[${texts.join(",")}]}`
          : JSON.stringify({ reports: entries.map(({ plain }) => ofVersion1(plain)) });
        return encodeFrame({ type: FRAME.tickets, ...place }, Buffer.from(json));
      });
      if (isSent !== true) return this.#schedule(RETRY_MS);
      for (const entry of entries) entry.seq = seq;
      this.#sentCount += entries.length;
    }
  }

  /** The oldest unsent reports that fit one frame; at least one. */
  #nextBatch(): { entries: Entry[]; texts: string[] } {
    const texts: string[] = [];
    const from = this.#sentCount;
    let bytes = 0;
    for (let at = from; at < this.#entries.length; at++) {
      const { report, plain } = this.#entries[at]!;
      const text = JSON.stringify(this.#tellsStages ? report : plain);
      bytes += Buffer.byteLength(text) + 1;
      const isFull = texts.length >= PROTOCOL_LIMITS.ticketReportsMax;
      if (isFull || (bytes > FRAME_PAYLOAD_BYTES_MAX && texts.length > 0)) break;
      texts.push(text);
    }
    return { entries: this.#entries.slice(from, from + texts.length), texts };
  }
}

function keyOf({ ticket, attempt }: OpenTicket): string {
  return `${attempt} ${ticket}`;
}

/** A report as version 1 knows it: its objects refuse fields they do not know. */
function ofVersion1(report: PlainReport): PlainReport {
  const { requestId: _requestId, tenant: _tenant, model: _model, ...rest } = report;
  return rest;
}
