// Reports of tickets on their way to the pool's object. A report stays until the object says that
// it is durable. After a reconnect everything unacknowledged is sent again, and an `opened` for
// every ticket still open, so that an object that lost its memory rebuilds its ledger. Reports are
// idempotent: one that arrives twice does no harm.

import { encodeFrame, FRAME } from "../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type { TicketClosed, TicketReport } from "../protocol/messages.ts";

/** Unacknowledged reports kept while the object is away; the oldest leave first. */
export const OUTBOX_REPORTS_MAX = 20_000;
/** Payload of one frame, well below the protocol's limit. */
const FRAME_PAYLOAD_BYTES_MAX = 256 * 1024;
/** How long reports gather into one frame. */
const GATHER_MS = 10;
/** Pace of new attempts while the session is down or its buffer full. */
const RETRY_MS = 200;

type TicketOpened = Extract<TicketReport, { kind: "opened" }>;

interface Entry {
  readonly report: TicketReport;
  /** The frame it left in; 0 while it has not been sent on this connection. */
  seq: number;
}

/** The part of a session an outbox needs. */
export interface ReportSender {
  send(encode: (seq: number) => Uint8Array): boolean;
}

export class TicketOutbox {
  readonly #open = new Map<string, TicketOpened>();
  #entries: Entry[] = [];
  #sender: ReportSender | undefined;
  #timer: NodeJS.Timeout | undefined;
  #droppedCount = 0;
  #onEmpty: (() => void)[] = [];

  /** Reports go to `sender` from now on. */
  attach(sender: ReportSender): void {
    this.#sender = sender;
    this.#schedule(GATHER_MS);
  }

  /** Reports not yet acknowledged. */
  get size(): number {
    return this.#entries.length;
  }

  /** Reports that left unsent because the outbox was full. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** A ticket's endpoint is being tried; said again when another one is. */
  opened(ticket: string, attempt: number, endpoint: string): void {
    const report: TicketOpened = { kind: "opened", ticket, attempt, endpoint };
    this.#open.set(keyOf(report), report);
    this.#add(report);
  }

  closed(report: TicketClosed): void {
    this.#open.delete(keyOf(report));
    this.#add(report);
  }

  /** Frames up to `seq` are durable. */
  acked(seq: number): void {
    this.#entries = this.#entries.filter((entry) => entry.seq === 0 || entry.seq > seq);
    if (this.#entries.length > 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }

  /** The object may have forgotten: says every open ticket and everything unacknowledged again. */
  resync(): void {
    const waiting = new Set(this.#entries.map((entry) => entry.report));
    const open = [...this.#open.values()].filter((report) => !waiting.has(report));
    this.#entries = [
      ...open.map((report) => ({ report, seq: 0 })),
      ...this.#entries.map(({ report }) => ({ report, seq: 0 })),
    ];
    this.#bound();
    this.#schedule(0);
  }

  /** Says again which tickets are open, so that long answers do not outlive the object's lease. */
  renew(): void {
    const waiting = new Set(this.#entries.map((entry) => entry.report));
    for (const report of this.#open.values()) if (!waiting.has(report)) this.#add(report);
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
    this.#timer = undefined;
    this.#sender = undefined;
  }

  #add(report: TicketReport): void {
    this.#entries.push({ report, seq: 0 });
    this.#bound();
    this.#schedule(GATHER_MS);
  }

  #bound(): void {
    const excess = this.#entries.length - OUTBOX_REPORTS_MAX;
    if (excess <= 0) return;
    this.#entries.splice(0, excess);
    this.#droppedCount += excess;
  }

  #schedule(delayMs: number): void {
    if (this.#sender === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, delayMs);
  }

  #flush(): void {
    for (;;) {
      const batch = this.#nextBatch();
      if (batch.entries.length === 0) return;
      const payload = Buffer.from(`{"reports":[${batch.texts.join(",")}]}`);
      let sentSeq = 0;
      const isSent = this.#sender?.send((seq) => {
        sentSeq = seq;
        return encodeFrame(FRAME.tickets, seq, payload);
      });
      if (isSent !== true) return this.#schedule(RETRY_MS);
      for (const entry of batch.entries) entry.seq = sentSeq;
    }
  }

  /** The oldest unsent reports that fit one frame. */
  #nextBatch(): { entries: Entry[]; texts: string[] } {
    const entries: Entry[] = [];
    const texts: string[] = [];
    let bytes = 0;
    for (const entry of this.#entries) {
      if (entry.seq !== 0) continue;
      const text = JSON.stringify(entry.report);
      bytes += Buffer.byteLength(text) + 1;
      const isFull = texts.length >= PROTOCOL_LIMITS.ticketReportsMax;
      if (isFull || (bytes > FRAME_PAYLOAD_BYTES_MAX && texts.length > 0)) break;
      entries.push(entry);
      texts.push(text);
    }
    return { entries, texts };
  }
}

function keyOf(report: TicketReport): string {
  return `${report.attempt} ${report.ticket}`;
}
