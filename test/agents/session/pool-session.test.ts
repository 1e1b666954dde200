import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeFrame, FRAME, type FramePlace } from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import type { Configure, Evict } from "../../../src/agents/protocol/messages.ts";
import {
  type Acknowledged,
  PoolSession,
  SEND_BUFFER_BYTES_MAX,
  type SessionTiming,
} from "../../../src/agents/session/pool-session.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";

/** A busy machine takes its time. */
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

const QUICK: SessionTiming = {
  retryBaseMs: 10,
  retryCapMs: 50,
  refusedRetryMs: 60_000,
  handshakeMs: 100,
  pingMs: 20,
  deadMs: 100,
  stableMs: 5_000,
};
const TOKEN = "a-token-that-nobody-may-read";

let object: FakePoolObject;
let session: PoolSession | undefined;
const { logger, lines } = captureLogs();
const registry = new MetricRegistry();
const events = {
  onResync: vi.fn<() => void>(),
  onAck: vi.fn<(acknowledged: Acknowledged) => void>(),
  onConfigure: vi.fn<(configure: Configure) => void>(),
  onEvict: vi.fn<(evict: Evict) => void>(),
};

function open(timing: Partial<SessionTiming> = {}): PoolSession {
  session = new PoolSession({
    role: "collector",
    pool: "eu 1",
    agent: "collector-0",
    connect: new URL("/base/", object.url),
    token: TOKEN,
    logger,
    registry,
    events,
    timing: { ...QUICK, ...timing },
  });
  return session;
}

const emptyMembership = (place: FramePlace) =>
  encodeFrame({ type: FRAME.membership, ...place }, Buffer.from('{"endpoints":[]}'));

async function established(): Promise<PoolSession> {
  await waitFor(() => expect(session?.isEstablished).toBe(true));
  return session!;
}

beforeEach(async () => {
  object = await FakePoolObject.start();
  lines.length = 0;
  for (const event of Object.values(events)) event.mockClear();
});
afterEach(async () => {
  await session?.close();
  await object.close();
});

describe("PoolSession", () => {
  it("presents its token and itself, and asks its owner for everything once welcome", async () => {
    open();
    await established();
    expect(object.upgrades[0]!.url).toBe("/base/agents/v1/eu%201");
    expect(object.upgrades[0]!.headers.authorization).toBe(`Bearer ${TOKEN}`);
    expect(object.hellos[0]).toMatchObject({
      t: "hello",
      v: 2,
      role: "collector",
      pool: "eu 1",
      agent: "collector-0",
    });
    expect(events.onResync).toHaveBeenCalledOnce();
    expect(JSON.stringify(lines)).not.toContain(TOKEN);
  });

  it("numbers frames from 1 without a gap, across reconnects, in one epoch", async () => {
    open();
    await established();
    for (let i = 0; i < 3; i++) expect(session!.send(emptyMembership)).toBe(true);
    await waitFor(() => expect(object.frames).toHaveLength(3));
    object.socket!.terminate();
    await waitFor(() => expect(object.hellos).toHaveLength(2));
    await established();
    session!.send(emptyMembership);
    await waitFor(() => expect(object.frames).toHaveLength(4));
    expect(object.frames.map((frame) => frame.seq)).toEqual([1, 2, 3, 4]);
    expect(object.hellos[1]!.epoch).toBe(object.hellos[0]!.epoch);
    expect(events.onResync).toHaveBeenCalledTimes(2);
    expect(registry.render()).toContain('fairlead_agent_reconnects_total{role="collector"}');
  });

  it("passes on configure, ack, evict and resync, and ignores what it does not know", async () => {
    const evict = { t: "evict", ticket: "t-1", attempt: 0, retryAfterMs: 0 };
    open();
    await established();
    object.send({ t: "dance", tempo: 120 });
    object.socket!.send("not json");
    object.socket!.send(Buffer.from([1, 2, 3]));
    object.send({ t: "configure", scrapeIntervalMs: 100, metrics: [], novelty: true });
    object.send({ t: "ack", seq: 7, report: 6 });
    object.send({ ...evict, novelty: true });
    object.send({ t: "resync", reason: "gap" });
    await waitFor(() => expect(events.onResync).toHaveBeenCalledTimes(2));
    expect(events.onConfigure).toHaveBeenCalledExactlyOnceWith({
      t: "configure",
      scrapeIntervalMs: 100,
      metrics: [],
    });
    expect(events.onAck).toHaveBeenLastCalledWith({ seq: 7, report: 6 });
    expect(events.onEvict).toHaveBeenCalledExactlyOnceWith(evict);
    expect(object.hellos).toHaveLength(1);
  });

  it("refuses to send before it is welcome and uses no number for it", async () => {
    object.isWelcoming = false;
    open();
    await waitFor(() => expect(object.hellos).toHaveLength(1));
    expect(session!.send(emptyMembership)).toBe(false);
    expect(session!.nextSeq).toBe(1);
  });

  it("gives up on an object that does not answer the hello, and tries again", async () => {
    object.isWelcoming = false;
    open();
    await waitFor(() => expect(object.hellos.length).toBeGreaterThan(1));
    object.isWelcoming = true;
    await established();
  });

  it("gives up on an object that fell silent", async () => {
    open();
    await established();
    // A paused socket neither reads nor answers pings, as a machine that lost its network.
    object.socket!.pause();
    await waitFor(() => expect(object.hellos).toHaveLength(2));
    expect(lines.map((line) => line["msg"])).toContain("the object fell silent");
  });

  it("stays connected to a quiet object that answers pings", async () => {
    open();
    await established();
    await new Promise((resolve) => setTimeout(resolve, 3 * QUICK.deadMs));
    expect(object.hellos).toHaveLength(1);
  });

  it("holds back frames while the peer does not read, within a bound", async () => {
    open({ pingMs: 60_000 });
    await established();
    object.socket!.pause();
    const payload = Buffer.alloc(PROTOCOL_LIMITS.frameBytesMax / 2, 0x20);
    let sent = 0;
    const encode = (place: FramePlace) =>
      encodeFrame({ type: FRAME.membership, ...place }, payload);
    while (sent < 1_000 && session!.send(encode)) {
      sent += 1;
    }
    // The kernel's socket buffers take some frames more than the session's own bound.
    const bufferedMax = SEND_BUFFER_BYTES_MAX / payload.byteLength + 1;
    expect(sent).toBeGreaterThanOrEqual(bufferedMax - 1);
    expect(sent).toBeLessThan(100);
    expect(session!.nextSeq).toBe(sent + 1);
  });

  it("closes on a control message over the limit", async () => {
    open();
    await established();
    object.send({ t: "resync", reason: "x".repeat(PROTOCOL_LIMITS.controlBytesMax) });
    await waitFor(() => expect(object.hellos).toHaveLength(2));
    expect(events.onResync).toHaveBeenCalledTimes(2);
  });

  it.for([
    { status: 401, sentence: /token was not accepted/ },
    { status: 403, sentence: /token was not accepted/ },
    { status: 404, sentence: /no such pool/ },
  ])("says plainly what a $status means and retries slowly", async ({ status, sentence }) => {
    object.upgradeStatus = status;
    open();
    await waitFor(() =>
      expect(lines.map((line) => line["msg"])).toContain("not connected, will retry"),
    );
    expect(lines.find((line) => line["level"] === "error")).toMatchObject({
      status,
      msg: expect.stringMatching(sentence) as string,
    });
    const retry = lines.find((line) => line["msg"] === "not connected, will retry")!;
    expect(retry["retryMs"]).toBeGreaterThanOrEqual(QUICK.refusedRetryMs / 2);
  });

  it("retries soon when the edge is only busy", async () => {
    object.upgradeStatus = 503;
    open();
    await waitFor(() => expect(object.upgrades.length).toBeGreaterThan(1));
    object.upgradeStatus = 101;
    await established();
  });

  it("speaks the version before to an older object, and offers the newest anew later", async () => {
    object.version = 1;
    open();
    expect((await established()).version).toBe(1);
    session!.send(emptyMembership);
    await waitFor(() => expect(object.frames).toHaveLength(1));
    expect(object.hellos.map(({ v }) => v)).toEqual([2, 1]);
    expect(object.frames[0]).toMatchObject({ version: 1 });
    object.version = 2;
    object.socket!.terminate();
    await waitFor(() => expect(object.hellos.map(({ v }) => v)).toEqual([2, 1, 2]));
    expect((await established()).version).toBe(2);
  });

  it("retries slowly when the object welcomes a version that was not offered", async () => {
    object.isWelcoming = false;
    open();
    await waitFor(() => expect(object.hellos).toHaveLength(1));
    object.send({ t: "welcome", v: 3, objectEpoch: "o", ackedSeq: 0 });
    await waitFor(() => {
      const retry = lines.find((line) => line["msg"] === "not connected, will retry");
      expect(retry?.["retryMs"]).toBeGreaterThanOrEqual(QUICK.refusedRetryMs / 2);
    });
    expect(session!.isEstablished).toBe(false);
  });

  it("retries slowly when the object refuses every version", async () => {
    object.version = 0;
    open();
    await waitFor(() => {
      const retry = lines.findLast((line) => line["msg"] === "not connected, will retry");
      expect(retry?.["retryMs"]).toBeGreaterThanOrEqual(QUICK.refusedRetryMs / 2);
    });
  });

  it.for([
    { name: "goes on counting after connections that do not last", stableMs: 60_000, last: 3 },
    { name: "begins anew after a connection that lasted", stableMs: 0, last: 0 },
  ])("$name", async ({ stableMs, last }) => {
    object.isDropping = true;
    open({ retryBaseMs: 1, stableMs });
    const attempts = () => lines.map((line) => line["attempt"]).filter((n) => n !== undefined);
    await waitFor(() => expect(attempts().length).toBeGreaterThan(3));
    expect(attempts()[3]).toBe(last);
  });

  it("does not reconnect once closed", async () => {
    open();
    await established();
    await session!.close();
    await new Promise((resolve) => setTimeout(resolve, 3 * QUICK.retryCapMs));
    expect(object.hellos).toHaveLength(1);
  });
});
