import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodeHeader, FRAME, framePayload } from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import {
  ticketReportsSchema,
  type TicketClosed,
  type TicketReport,
} from "../../../src/agents/protocol/messages.ts";
import { OUTBOX_REPORTS_MAX, TicketOutbox } from "../../../src/agents/relay/ticket-outbox.ts";

const closed = (ticket: string, more: Partial<TicketClosed> = {}): TicketClosed => ({
  kind: "closed",
  ticket,
  attempt: 0,
  endpoint: "h:1",
  outcome: "ok",
  status: 200,
  ttftMs: 1,
  durationMs: 2,
  promptTokens: 3,
  cachedTokens: 2,
  completionTokens: 1,
  finishReason: "stop",
  failed: [],
  ...more,
});

/** A session that decodes what it is given. */
class Sender {
  isUp = true;
  seq = 0;
  frames: TicketReport[][] = [];
  bytesMax = 0;

  send(encode: (seq: number) => Uint8Array): boolean {
    if (!this.isUp) return false;
    const frame = encode(++this.seq);
    const header = decodeHeader(frame);
    if (!header.ok || header.value.type !== FRAME.tickets || header.value.seq !== this.seq) {
      throw new Error("not a TICKETS frame of this sequence number");
    }
    this.bytesMax = Math.max(this.bytesMax, frame.byteLength);
    const json: unknown = JSON.parse(Buffer.from(framePayload(frame)).toString());
    this.frames.push(ticketReportsSchema.parse(json).reports);
    return true;
  }
}

let outbox: TicketOutbox;
let sender: Sender;
const kinds = (reports: readonly TicketReport[]) =>
  reports.map((report) => `${report.kind} ${report.ticket}`);

beforeEach(() => {
  vi.useFakeTimers();
  outbox = new TicketOutbox();
  sender = new Sender();
});
afterEach(() => {
  outbox.close();
  vi.useRealTimers();
});

describe("TicketOutbox", () => {
  it("gathers reports into one frame, in order, and drops them once they are durable", () => {
    outbox.attach(sender);
    outbox.opened("a", 0, "h:1");
    outbox.opened("b", 0, "h:1");
    outbox.closed(closed("a"));
    vi.advanceTimersByTime(100);
    expect(sender.frames.map(kinds)).toEqual([["opened a", "opened b", "closed a"]]);
    expect(outbox.size).toBe(3);
    outbox.closed(closed("b"));
    vi.advanceTimersByTime(100);
    outbox.acked(1);
    expect(outbox.size).toBe(1);
    outbox.acked(2);
    expect(outbox.size).toBe(0);
  });

  it("sends nothing twice on one connection", () => {
    outbox.attach(sender);
    outbox.opened("a", 0, "h:1");
    vi.advanceTimersByTime(10_000);
    expect(sender.frames).toHaveLength(1);
  });

  it("keeps reports while the session is down and sends them when it is back", () => {
    sender.isUp = false;
    outbox.attach(sender);
    outbox.opened("a", 0, "h:1");
    vi.advanceTimersByTime(10_000);
    sender.isUp = true;
    vi.advanceTimersByTime(1_000);
    expect(sender.frames.map(kinds)).toEqual([["opened a"]]);
  });

  it("says every open ticket and everything unacknowledged again after a reconnect", () => {
    outbox.attach(sender);
    outbox.opened("open and durable", 0, "h:1");
    outbox.opened("open", 0, "h:1");
    outbox.opened("ended", 0, "h:1");
    vi.advanceTimersByTime(100);
    outbox.acked(1);
    outbox.closed(closed("ended"));
    vi.advanceTimersByTime(100);
    // A late acknowledgement of the old connection must not drop what is being sent again.
    outbox.resync();
    outbox.acked(2);
    vi.advanceTimersByTime(100);
    expect(kinds(sender.frames.at(-1)!)).toEqual([
      "opened open and durable",
      "opened open",
      "closed ended",
    ]);
  });

  it("names the endpoint that is tried last when it says an open ticket again", () => {
    outbox.attach(sender);
    outbox.opened("a", 0, "h:1");
    outbox.opened("a", 0, "h:2");
    vi.advanceTimersByTime(100);
    outbox.acked(1);
    outbox.resync();
    vi.advanceTimersByTime(100);
    expect(sender.frames.at(-1)).toMatchObject([{ ticket: "a", endpoint: "h:2" }]);
  });

  it("renews what is open, once, and nothing that has ended", () => {
    outbox.attach(sender);
    outbox.opened("a", 0, "h:1");
    outbox.opened("b", 0, "h:1");
    outbox.closed(closed("b"));
    vi.advanceTimersByTime(100);
    outbox.acked(1);
    outbox.renew();
    outbox.renew();
    vi.advanceTimersByTime(100);
    expect(sender.frames.slice(1).map(kinds)).toEqual([["opened a"]]);
  });

  it("splits frames by count and by bytes", () => {
    outbox.attach(sender);
    const count = PROTOCOL_LIMITS.ticketReportsMax + 1;
    for (let i = 0; i < count; i++) outbox.opened(`t${i}`, 0, "h:1");
    vi.advanceTimersByTime(100);
    expect(sender.frames.map((reports) => reports.length)).toEqual([count - 1, 1]);
    const failed = Array.from({ length: 8 }, (_, i) => `${"h".repeat(250)}${i}:8000`);
    for (let i = 0; i < count; i++) outbox.closed(closed(`${"t".repeat(120)}${i}`, { failed }));
    vi.advanceTimersByTime(100);
    expect(sender.frames.flat()).toHaveLength(2 * count);
    expect(sender.bytesMax).toBeLessThan(PROTOCOL_LIMITS.frameBytesMax);
  });

  it("is bounded: the oldest reports leave first, and are counted", () => {
    sender.isUp = false;
    outbox.attach(sender);
    for (let i = 0; i < OUTBOX_REPORTS_MAX + 3; i++) outbox.closed(closed(`t${i}`));
    expect(outbox.size).toBe(OUTBOX_REPORTS_MAX);
    expect(outbox.droppedCount).toBe(3);
    sender.isUp = true;
    vi.advanceTimersByTime(1_000);
    expect(sender.frames[0]![0]).toMatchObject({ ticket: "t3" });
  });

  it("drains: resolves once everything is durable, or when it has waited long enough", async () => {
    outbox.attach(sender);
    await outbox.drain(1_000);
    outbox.opened("a", 0, "h:1");
    const durable = vi.fn<() => void>();
    const draining = outbox.drain(1_000).then(durable);
    expect(sender.frames.map(kinds)).toEqual([["opened a"]]);
    await vi.advanceTimersByTimeAsync(500);
    expect(durable).not.toHaveBeenCalled();
    outbox.acked(1);
    await draining;
    outbox.closed(closed("a"));
    const late = outbox.drain(1_000);
    await vi.advanceTimersByTimeAsync(1_000);
    await late;
    expect(outbox.size).toBe(1);
  });
});
