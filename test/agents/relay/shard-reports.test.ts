import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Mark, TicketClosed } from "../../../src/agents/protocol/messages.ts";
import { Evictions } from "../../../src/agents/relay/evictions.ts";
import { ShardReports } from "../../../src/agents/relay/shard-reports.ts";
import { OUTBOX_REPORTS_MAX, type TicketSubject } from "../../../src/agents/relay/ticket-outbox.ts";
import { requestIdAt, createRequestId, poolTag } from "../../../src/worker/request-id.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { configureOf, ShardedPool } from "../support/sharded-pool.ts";

const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });
const ENDPOINT = "10.0.0.1:8000";
const mark: Mark = { endpoint: ENDPOINT, leaseMs: 1_000, why: "refused" };

let pool: ShardedPool;
let reports: ShardReports;
let evictions: Evictions;
let registry: MetricRegistry;
const { logger } = captureLogs();

function subject(ticket: string, shard: number): TicketSubject {
  const requestId = requestIdAt(createRequestId("a".repeat(32)), poolTag("eu"), shard);
  return { ticket, attempt: 0, requestId, tenant: "t", model: "m" };
}

function closed(of: TicketSubject): TicketClosed {
  return {
    kind: "closed",
    ...of,
    endpoint: ENDPOINT,
    outcome: "ok",
    status: 200,
    ttftMs: 1,
    durationMs: 2,
    promptTokens: 3,
    cachedTokens: 0,
    completionTokens: 4,
    finishReason: "stop",
    failed: [],
  };
}

/** `kind ticket`, as an object was told. */
const told = (shard: number) =>
  pool.objects[shard]!.tickets.map(({ kind, ticket }) => `${kind} ${ticket}`);

function open(leaving = { staysMs: 0, staysMsMax: 60_000, lookMs: 10 }): void {
  reports = new ShardReports({
    pool: "eu",
    agent: "relay-0",
    connect: pool.url,
    token: "a-token",
    logger,
    registry,
    marks: { standing: () => [mark] },
    evictions,
    timing: { retryBaseMs: 10, retryCapMs: 50, refusedRetryMs: 50 },
    leaving,
  });
}

beforeEach(async () => {
  pool = await ShardedPool.start(4);
  registry = new MetricRegistry();
  evictions = new Evictions({ clock: () => 0, isUsed: () => false });
});
afterEach(async () => {
  await reports.close();
  await pool.close();
});

describe("reports of a pool with several objects", () => {
  it("go to the object whose shard the request's id names, each from the number 1 on", async () => {
    pool.objects[0]!.configure = configureOf({ count: 3 });
    open();
    await waitFor(() => expect(reports.isConnected).toBe(true));
    await waitFor(() => expect(pool.objects[2]!.hellos).toHaveLength(1));
    for (const shard of [0, 1, 2]) {
      const of = subject(`t-${shard}`, shard);
      reports.opened(of, ENDPOINT, false);
      reports.prefilled(of.requestId, {
        kind: "prefilled",
        ticket: of.ticket,
        attempt: 0,
        endpoint: ENDPOINT,
        outcome: "ok",
        durationMs: 1,
        promptTokens: null,
        cachedTokens: null,
      });
      reports.closed(closed(of));
    }
    for (const shard of [0, 1, 2]) {
      const ticket = `t-${shard}`;
      await waitFor(() => expect(told(shard)).toContain(`closed ${ticket}`));
      // Objects that have not asked for stages are told what they know instead.
      expect(new Set(told(shard))).toEqual(new Set([`opened ${ticket}`, `closed ${ticket}`]));
    }
    await waitFor(() => expect(reports.size).toBe(0));
  });

  it("are the first one's where an id is none of ours, or names what cannot be", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open();
    reports.closed(closed({ ...subject("t-1", 0), requestId: "a-client's" }));
    reports.closed(closed({ ...subject("t-2", 0), requestId: subject("", 0xff).requestId }));
    await waitFor(() => expect(told(0)).toEqual(["closed t-1", "closed t-2"]));
  });

  it("reach an object that the relay has not heard of yet", async () => {
    pool.objects[0]!.configure = configureOf({ count: 1 });
    open();
    await waitFor(() => expect(reports.isConnected).toBe(true));
    reports.opened(subject("t-3", 3), ENDPOINT, false);
    await waitFor(() => expect(told(3)).toEqual(["opened t-3"]));
    expect(told(0)).toEqual([]);
  });

  it("go on to an object that is not counted any more until its tickets have ended", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open();
    await waitFor(() => expect(pool.objects[1]!.hellos).toHaveLength(1));
    const long = subject("t-long", 1);
    reports.opened(long, ENDPOINT, false);
    await waitFor(() => expect(told(1)).toEqual(["opened t-long"]));
    pool.objects[0]!.send(configureOf({ count: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    reports.closed(closed(long));
    await waitFor(() => expect(told(1)).toEqual(["opened t-long", "closed t-long"]));
    await waitFor(() => expect(pool.objects[1]!.socket!.readyState).toBe(3));
    expect(told(0)).toEqual([]);
  });

  it("go to the first one when an object that is not counted can never be told", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    pool.objects[1]!.isAcking = false;
    open({ staysMs: 0, staysMsMax: 200, lookMs: 10 });
    await waitFor(() => expect(pool.objects[1]!.hellos).toHaveLength(1));
    const [over, running] = [subject("t-over", 1), subject("t-running", 1)];
    reports.opened(running, ENDPOINT, false);
    reports.closed(closed(over));
    await waitFor(() => expect(told(1)).toContain("closed t-over"));
    pool.objects[0]!.send(configureOf({ count: 1 }));
    await waitFor(() => expect(told(0)).toContain("closed t-over"));
    expect(told(0)).toContain("opened t-running");
    await waitFor(() => expect(reports.size).toBe(0));
    // What becomes of it is for whoever was told last that it is open.
    const dialled = pool.objects[1]!.hellos.length;
    const carried = evictions.enter({ ticket: running.ticket, attempt: 0 }, 1);
    carried.hasBegun = true;
    reports.begun(carried);
    reports.ended(carried);
    reports.closed(closed(running));
    await waitFor(() => expect(told(0)).toContain("closed t-running"));
    await waitFor(() => expect(reports.size).toBe(0));
    reports.renew();
    expect(reports.size).toBe(0);
    expect(pool.objects[1]!.hellos).toHaveLength(dialled);
  });

  it("wait for one object while others are told", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    pool.objects[1]!.isWelcoming = false;
    open();
    await waitFor(() => expect(pool.objects[0]!.hellos).toHaveLength(1));
    reports.closed(closed(subject("t-1", 1)));
    reports.closed(closed(subject("t-0", 0)));
    await waitFor(() => expect(told(0)).toEqual(["closed t-0"]));
    expect(reports.isConnected).toBe(false);
    pool.objects[1]!.isWelcoming = true;
    pool.objects[1]!.socket!.terminate();
    await waitFor(() => expect(told(1)).toEqual(["closed t-1"]));
  });

  it("are bounded for all objects together", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    pool.objects[1]!.isWelcoming = false;
    open();
    await waitFor(() => expect(pool.objects[1]!.hellos).toHaveLength(1));
    const of = subject("t-1", 1);
    for (let i = 0; i < OUTBOX_REPORTS_MAX / 2 + 5; i++) reports.closed(closed(of));
    expect(reports.size).toBe(OUTBOX_REPORTS_MAX / 2);
    expect(registry.render()).toContain("fairlead_relay_outbox_dropped_total 5");
  });

  it("tell of endpoints to all, and of beginnings to the one that granted", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    for (const object of pool.objects.slice(0, 2)) {
      const { shards } = configureOf({ count: 2 });
      object.configure = { ...configureOf(undefined), shards, reportsFirstByte: true };
    }
    open();
    await waitFor(() => expect(pool.objects[1]!.hellos).toHaveLength(1));
    await waitFor(() => expect(reports.isConnected).toBe(true));
    const carried = evictions.enter({ ticket: "t-1", attempt: 0 }, 1);
    carried.hasBegun = true;
    await new Promise((resolve) => setTimeout(resolve, 50));
    reports.begun(carried);
    reports.mark([mark]);
    await waitFor(() => expect(pool.objects[1]!.started).toEqual([{ ticket: "t-1", attempt: 0 }]));
    for (const shard of [0, 1]) {
      const marks = () => pool.objects[shard]!.frames.filter(({ kind }) => kind === "marks");
      // At the welcome, and now.
      await waitFor(() => expect(marks()).toHaveLength(2));
    }
    // Said again to whom it concerns only.
    for (const object of pool.objects.slice(0, 2)) object.socket!.terminate();
    await waitFor(() => expect(pool.objects[1]!.started).toHaveLength(2));
    expect(pool.objects[0]!.started).toEqual([]);
  });

  it("obey evictions of any object", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open();
    await waitFor(() => expect(reports.isConnected).toBe(true));
    await waitFor(() => expect(pool.objects[1]!.hellos).toHaveLength(1));
    const carried = evictions.enter({ ticket: "t-1", attempt: 0 }, 1);
    pool.objects[1]!.send({ t: "evict", ticket: "t-1", attempt: 0, retryAfterMs: 70 });
    await waitFor(() => expect(carried.retryAfterMs).toBe(70));
  });
});
