import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  decodeHeader,
  FRAME,
  type FramePlace,
  framePayload,
} from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import {
  numberedReportsSchema,
  ticketReportsSchema,
  type TicketClosed,
  type TicketReport,
} from "../../../src/agents/protocol/messages.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { OPENED_HOLD_MS } from "../../../src/agents/relay/held-openings.ts";
import {
  CONFIGURE_MS_MAX,
  EDGE_GATHER_MS,
  OUTBOX_REPORTS_MAX,
  TicketOutbox,
  type TicketSubject,
} from "../../../src/agents/relay/ticket-outbox.ts";

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

const subject = (ticket: string): TicketSubject => ({
  ticket,
  attempt: 0,
  requestId: `request of ${ticket}`,
  tenant: "acme",
  model: "m",
});

/** A session that decodes what it is given. */
class Sender {
  isUp = true;
  version = PROTOCOL_VERSION;
  numbers: [oldest: number, first: number][] = [];
  seq = 0;
  frames: TicketReport[][] = [];
  bytesMax = 0;

  send(encode: (place: FramePlace) => Uint8Array): boolean {
    if (!this.isUp) return false;
    const place = { version: this.version, seq: ++this.seq };
    const frame = encode(place);
    const header = decodeHeader(frame);
    if (!header.ok || header.value.type !== FRAME.tickets || header.value.seq !== this.seq) {
      throw new Error("not a TICKETS frame of this sequence number");
    }
    if (header.value.version !== this.version) throw new Error("not of the session's version");
    this.bytesMax = Math.max(this.bytesMax, frame.byteLength);
    const json: unknown = JSON.parse(Buffer.from(framePayload(frame)).toString());
    if (this.version === 1) {
      this.frames.push(ticketReportsSchema.parse(json).reports);
    } else {
      const { oldest, first, reports } = numberedReportsSchema.parse(json);
      this.numbers.push([oldest, first]);
      this.frames.push(reports);
    }
    return true;
  }
}

let outbox: TicketOutbox;
let sender: Sender;
const dropped = vi.fn<(count: number) => void>();
const kinds = (reports: readonly TicketReport[]) =>
  reports.map((report) => `${report.kind} ${report.ticket}`);

beforeEach(() => {
  vi.useFakeTimers();
  dropped.mockClear();
  outbox = new TicketOutbox(dropped);
  sender = new Sender();
});
afterEach(() => {
  outbox.close();
  vi.useRealTimers();
});

describe("TicketOutbox", () => {
  it("gathers reports into one frame, in order, and drops them once they are durable", () => {
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    outbox.opened(subject("b"), "h:1");
    outbox.closed(closed("a"));
    vi.advanceTimersByTime(100);
    expect(sender.frames.map(kinds)).toEqual([["opened a", "opened b", "closed a"]]);
    expect(outbox.size).toBe(3);
    outbox.closed(closed("b"));
    vi.advanceTimersByTime(100);
    expect(sender.numbers).toEqual([
      [1, 1],
      [1, 4],
    ]);
    outbox.acked({ seq: 0, report: 3 });
    expect(outbox.size).toBe(1);
    outbox.acked({ seq: 0, report: 4 });
    expect(outbox.size).toBe(0);
    // An object that counts further than this relay is believed as far as reports go.
    outbox.acked({ seq: 0, report: 9 });
    outbox.opened(subject("c"), "h:1");
    vi.advanceTimersByTime(100);
    expect(sender.numbers.at(-1)).toEqual([5, 5]);
  });

  it("sends nothing twice on one connection", () => {
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    vi.advanceTimersByTime(10_000);
    expect(sender.frames).toHaveLength(1);
  });

  it("keeps reports while the session is down and sends them when it is back", () => {
    sender.isUp = false;
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    vi.advanceTimersByTime(10_000);
    sender.isUp = true;
    vi.advanceTimersByTime(1_000);
    expect(sender.frames.map(kinds)).toEqual([["opened a"]]);
  });

  it("says every open ticket and everything unacknowledged again after a reconnect", () => {
    outbox.attach(sender);
    outbox.opened(subject("open and durable"), "h:1");
    outbox.opened(subject("open"), "h:1");
    outbox.opened(subject("ended"), "h:1");
    vi.advanceTimersByTime(100);
    outbox.acked({ seq: 0, report: 1 });
    outbox.closed(closed("ended"));
    vi.advanceTimersByTime(100);
    outbox.resync();
    vi.advanceTimersByTime(100);
    expect(kinds(sender.frames.at(-1)!)).toEqual([
      "opened open",
      "opened ended",
      "closed ended",
      "opened open and durable",
    ]);
    // What was said before has the number it had, and is acknowledged by it at any time.
    expect(sender.numbers.at(-1)).toEqual([2, 2]);
    outbox.acked({ seq: 0, report: 4 });
    expect(outbox.size).toBe(1);
  });

  it("names the endpoint that is tried last when it says an open ticket again", () => {
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    outbox.opened(subject("a"), "h:2");
    vi.advanceTimersByTime(100);
    outbox.acked({ seq: 0, report: 2 });
    outbox.resync();
    vi.advanceTimersByTime(100);
    expect(sender.frames.at(-1)).toMatchObject([{ ticket: "a", endpoint: "h:2" }]);
    expect(sender.numbers.at(-1)).toEqual([3, 3]);
  });

  it("renews what is open, once, and nothing that has ended", () => {
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    outbox.opened(subject("b"), "h:1");
    outbox.closed(closed("b"));
    vi.advanceTimersByTime(100);
    outbox.acked({ seq: 0, report: 3 });
    outbox.renew();
    outbox.renew();
    vi.advanceTimersByTime(100);
    expect(sender.frames.slice(1).map(kinds)).toEqual([["opened a"]]);
  });

  it("splits frames by count and by bytes", () => {
    outbox.attach(sender);
    const count = PROTOCOL_LIMITS.ticketReportsMax + 1;
    for (let i = 0; i < count; i++) outbox.opened(subject(`t${i}`), "h:1");
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
    expect(dropped).toHaveBeenCalledTimes(3);
    sender.isUp = true;
    vi.advanceTimersByTime(1_000);
    expect(sender.frames[0]![0]).toMatchObject({ ticket: "t3" });
    // The object learns that what came before will never come.
    expect(sender.numbers[0]).toEqual([4, 4]);
  });

  it("drains: resolves once everything is durable, or when it has waited long enough", async () => {
    outbox.attach(sender);
    await outbox.drain(1_000);
    outbox.opened(subject("a"), "h:1");
    const durable = vi.fn<() => void>();
    const draining = outbox.drain(1_000).then(durable);
    expect(sender.frames.map(kinds)).toEqual([["opened a"]]);
    await vi.advanceTimersByTimeAsync(500);
    expect(durable).not.toHaveBeenCalled();
    outbox.acked({ seq: 0, report: 1 });
    await draining;
    outbox.closed(closed("a"));
    const late = outbox.drain(1_000);
    await vi.advanceTimersByTimeAsync(1_000);
    await late;
    expect(outbox.size).toBe(1);
  });

  describe("to an object of version 1", () => {
    beforeEach(() => {
      sender.version = 1;
      outbox.attach(sender);
    });

    it("leaves out what that version does not know", () => {
      outbox.opened(subject("a"), "h:1");
      outbox.closed({ ...closed("a"), requestId: "r", tenant: "acme", model: "m" });
      vi.advanceTimersByTime(100);
      expect(sender.frames).toEqual([
        [{ kind: "opened", ticket: "a", attempt: 0, endpoint: "h:1" }, closed("a")],
      ]);
    });

    it("is acknowledged by frames, and not by frames of an earlier connection", () => {
      outbox.closed(closed("a"));
      vi.advanceTimersByTime(100);
      outbox.closed(closed("b"));
      vi.advanceTimersByTime(100);
      outbox.acked({ seq: 1, report: undefined });
      expect(outbox.size).toBe(1);
      outbox.resync();
      outbox.acked({ seq: 2, report: undefined });
      expect(outbox.size).toBe(1);
      vi.advanceTimersByTime(100);
      outbox.acked({ seq: 3, report: undefined });
      expect(outbox.size).toBe(0);
    });

    it("is not asked again for what it held when the object was upgraded", () => {
      outbox.closed(closed("a"));
      outbox.closed(closed("b"));
      vi.advanceTimersByTime(100);
      outbox.closed(closed("c"));
      vi.advanceTimersByTime(100);
      sender.version = 2;
      outbox.acked({ seq: 1, report: 0 });
      outbox.resync();
      vi.advanceTimersByTime(100);
      expect(kinds(sender.frames.at(-1)!)).toEqual(["closed c"]);
      expect(sender.numbers.at(-1)).toEqual([3, 3]);
    });
  });
});

describe("reports of stages", () => {
  const prefilled = {
    kind: "prefilled",
    ticket: "a",
    attempt: 0,
    endpoint: "p:1",
    outcome: "ok",
    isLast: true,
    durationMs: 7,
    promptTokens: 3,
    cachedTokens: null,
  } as const;
  const stages: NonNullable<TicketClosed["stages"]> = {
    connector: "nixlv2",
    prefill: "p:1",
    outcome: "ok",
    prefillMs: 8,
    failed: [],
    isDecodeOnly: false,
    isStranded: false,
  };
  const tell = () => {
    outbox.opened(subject("a"), "h:1");
    outbox.prefilled(prefilled);
    outbox.closed(closed("a", { stages }));
    vi.advanceTimersByTime(100);
  };

  it("go to an object that wants them", () => {
    outbox.configure(true);
    outbox.attach(sender);
    tell();
    expect(sender.frames[0]).toMatchObject([{ kind: "opened" }, prefilled, { stages }]);
  });

  it.for([1, PROTOCOL_VERSION])(
    "become what another object of version %i knows, under the same numbers",
    (version) => {
      sender.version = version;
      outbox.attach(sender);
      tell();
      const opened = { kind: "opened", endpoint: "h:1" };
      expect(sender.frames[0]).toMatchObject([opened, opened, { kind: "closed" }]);
      // Whatever the object is to know again of the ticket, it knows by its last `opened`.
      expect(sender.frames[0]![1]).toEqual(sender.frames[0]![0]);
      expect(sender.frames[0]![2]).not.toHaveProperty("stages");
      if (version === 1) return;
      outbox.configure(true);
      outbox.resync();
      vi.advanceTimersByTime(100);
      expect(sender.numbers).toEqual([
        [1, 1],
        [1, 1],
      ]);
      expect(sender.frames[1]).toMatchObject([{}, prefilled, { stages }]);
    },
  );

  it("repeat the endpoint that was tried when the prefill ended", () => {
    outbox.attach(sender);
    outbox.opened(subject("a"), "h:1");
    outbox.opened(subject("a"), "h:2");
    outbox.prefilled(prefilled);
    outbox.opened(subject("a"), "h:3");
    vi.advanceTimersByTime(100);
    const told = sender.frames[0]!.map(({ endpoint }) => endpoint);
    expect(told).toEqual(["h:1", "h:2", "h:2", "h:3"]);
  });

  it("are not made of a ticket that is not open", () => {
    outbox.configure(true);
    outbox.attach(sender);
    outbox.closed(closed("a"));
    outbox.prefilled(prefilled);
    expect(outbox.size).toBe(1);
  });

  it("wait for what the object says that was just connected, and are told as it wants", () => {
    outbox.attach(sender);
    outbox.hold();
    tell();
    outbox.resync();
    vi.advanceTimersByTime(100);
    expect(sender.frames).toHaveLength(0);
    outbox.configure(true);
    vi.advanceTimersByTime(0);
    expect(sender.frames[0]).toMatchObject([{ kind: "opened" }, prefilled, { stages }]);
    vi.advanceTimersByTime(10_000);
    expect(sender.frames).toHaveLength(1);
  });

  it("do not wait long", () => {
    outbox.configure(true);
    outbox.attach(sender);
    outbox.hold();
    tell();
    vi.advanceTimersByTime(CONFIGURE_MS_MAX);
    expect(sender.frames[0]!.map(({ kind }) => kind)).toEqual(["opened", "opened", "closed"]);
  });
});

describe("a request that an isolate has decided on", () => {
  const edge = (n: number) => `i77-${n}.1.1.1.0`;

  it("is told by its end alone where it is short", () => {
    outbox.attach(sender);
    outbox.opened(subject(edge(1)), "h:1", true);
    vi.advanceTimersByTime(OPENED_HOLD_MS - 1);
    outbox.closed(closed(edge(1)));
    vi.advanceTimersByTime(OPENED_HOLD_MS);
    expect(sender.frames.map(kinds)).toEqual([[`closed ${edge(1)}`]]);
    expect(sender.numbers).toEqual([[1, 1]]);
  });

  it("is told to be open once it takes long, each in its time", () => {
    outbox.attach(sender);
    outbox.opened(subject(edge(1)), "h:1", true);
    vi.advanceTimersByTime(OPENED_HOLD_MS / 2);
    outbox.opened(subject(edge(2)), "h:1", true);
    vi.advanceTimersByTime(OPENED_HOLD_MS / 2 + EDGE_GATHER_MS);
    expect(sender.frames.map(kinds)).toEqual([[`opened ${edge(1)}`]]);
    vi.advanceTimersByTime(OPENED_HOLD_MS / 2);
    expect(sender.frames.map(kinds)).toEqual([[`opened ${edge(1)}`], [`opened ${edge(2)}`]]);
  });

  it("is told at once where it is tried elsewhere than was decided", () => {
    outbox.attach(sender);
    outbox.opened(subject(edge(1)), "h:2", false);
    outbox.opened(subject(edge(2)), "h:1", true);
    outbox.opened(subject(edge(2)), "h:2", false);
    vi.advanceTimersByTime(OPENED_HOLD_MS * 2);
    expect(sender.frames.flat()).toMatchObject([
      { ticket: edge(1), endpoint: "h:2" },
      { ticket: edge(2), endpoint: "h:2" },
    ]);
  });

  it("is told to be open before a prefill of it is, and to an object that has forgotten", () => {
    outbox.attach(sender);
    outbox.configure(true);
    for (const n of [1, 2]) outbox.opened(subject(edge(n)), "h:1", true);
    outbox.prefilled({
      kind: "prefilled",
      ticket: edge(1),
      attempt: 0,
      endpoint: "p:1",
      outcome: "ok",
      durationMs: 1,
      promptTokens: 1,
      cachedTokens: 0,
    });
    vi.advanceTimersByTime(EDGE_GATHER_MS);
    expect(sender.frames.map(kinds)).toEqual([[`opened ${edge(1)}`, `prefilled ${edge(1)}`]]);
    outbox.resync();
    vi.advanceTimersByTime(0);
    expect(sender.frames.slice(1).map(kinds)).toEqual([
      [`opened ${edge(1)}`, `prefilled ${edge(1)}`, `opened ${edge(2)}`],
    ]);
    vi.advanceTimersByTime(OPENED_HOLD_MS * 2);
    expect(sender.frames).toHaveLength(2);
  });

  it("is still open, and is told by whoever takes it over", () => {
    outbox.attach(sender);
    outbox.opened(subject(edge(1)), "h:1", true);
    expect(outbox.hasOpen({ ticket: edge(1), attempt: 0 })).toBe(true);
    expect(outbox.isDone).toBe(false);
    const other = new TicketOutbox();
    outbox.handOver(other);
    expect([outbox.isDone, other.size]).toEqual([true, 1]);
    vi.advanceTimersByTime(OPENED_HOLD_MS * 2);
    expect(sender.frames).toEqual([]);
    other.close();
  });

  it("has its end wait longer, unless an object's is to be told", () => {
    outbox.attach(sender);
    vi.advanceTimersByTime(EDGE_GATHER_MS);
    outbox.closed(closed(edge(1)));
    vi.advanceTimersByTime(EDGE_GATHER_MS - 1);
    expect(sender.frames).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(sender.frames.map(kinds)).toEqual([[`closed ${edge(1)}`]]);
    outbox.closed(closed(edge(2)));
    outbox.closed(closed("a"));
    vi.advanceTimersByTime(10);
    expect(sender.frames.slice(1).map(kinds)).toEqual([[`closed ${edge(2)}`, "closed a"]]);
  });

  it("does not hasten what waits for the session to be back", () => {
    sender.isUp = false;
    let tries = 0;
    outbox.attach({ send: () => (tries++, false) });
    outbox.closed(closed("a"));
    vi.advanceTimersByTime(10);
    outbox.closed(closed("b"));
    vi.advanceTimersByTime(100);
    expect(tries).toBe(1);
  });
});
