import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeFrame, FRAME, type FramePlace } from "../../../src/agents/protocol/codec.ts";
import type { PoolSession } from "../../../src/agents/session/pool-session.ts";
import { ShardSessions, type ShardUse } from "../../../src/agents/session/shard-sessions.ts";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { configureOf, ShardedPool } from "../support/sharded-pool.ts";

const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

interface Use extends ShardUse {
  readonly shard: number;
  readonly session: PoolSession;
  isDone: boolean;
  isClosed: boolean;
  resyncs: number;
}

let pool: ShardedPool;
let sessions: ShardSessions<Use> | undefined;
const maps: ShardMap[] = [];
const uses: Use[] = [];
const { logger } = captureLogs();

function open(leaving = { staysMs: 0, staysMsMax: 60_000, lookMs: 10 }): ShardSessions<Use> {
  sessions = new ShardSessions<Use>({
    role: "collector",
    pool: "eu",
    agent: "collector-0",
    connect: pool.url,
    token: "a-token",
    logger,
    registry: new MetricRegistry(),
    timing: { retryBaseMs: 10, retryCapMs: 50, refusedRetryMs: 50 },
    leaving,
    onMap: (map) => maps.push(map),
    open(shard, session) {
      const use: Use = {
        shard,
        session,
        isDone: true,
        isClosed: false,
        resyncs: 0,
        events: { onResync: () => void use.resyncs++, onAck: () => undefined },
        closed: () => void (use.isClosed = true),
      };
      uses.push(use);
      return use;
    },
  });
  return sessions;
}

const shardsOpen = () => sessions!.uses.map(({ shard }) => shard);
const membership = (place: FramePlace) =>
  encodeFrame({ type: FRAME.membership, ...place }, Buffer.from('{"endpoints":[]}'));

beforeEach(async () => {
  pool = await ShardedPool.start(4);
  maps.length = 0;
  uses.length = 0;
});
afterEach(async () => {
  await sessions?.close();
  await pool.close();
});

describe("sessions with all objects of a pool", () => {
  it("is one where the object says nothing of others, as those of before", async () => {
    pool.objects[0]!.configure = configureOf(undefined);
    open();
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    expect(shardsOpen()).toEqual([0]);
    expect(pool.objects[0]!.upgrades[0]!.url).toBe("/agents/v1/eu");
    expect(maps).toEqual([]);
  });

  it("dials each of those that the first one counts, by its number", async () => {
    pool.objects[0]!.configure = configureOf({ count: 3, version: 7, splits: [[1, 2, 3]] });
    // What others say of the pool is older, or newer: one must be right.
    pool.objects[1]!.configure = configureOf({ count: 1 }, 1);
    open();
    await waitFor(() => expect(shardsOpen()).toEqual([0, 1, 2]));
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    expect(pool.objects[2]!.upgrades[0]!.url).toBe("/agents/v1/eu?shard=2");
    // So that no other one takes it for its own, whoever passes it on.
    expect(pool.objects.map(({ hellos }) => hellos[0]?.shard)).toEqual([
      undefined,
      1,
      2,
      undefined,
    ]);
    expect(pool.objects[3]!.upgrades).toEqual([]);
    expect(maps).toEqual([{ count: 3, version: 7, splits: [[1, 2, 3]] }]);
  });

  it("lets nobody be disturbed by another's loss, and says so of itself", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open();
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    for (const { session } of sessions!.uses) session.send(membership);
    await waitFor(() => expect(pool.objects[1]!.frames).toHaveLength(1));
    pool.objects[1]!.isWelcoming = false;
    pool.objects[1]!.socket!.terminate();
    await waitFor(() => expect(sessions!.isEstablished).toBe(false));
    uses[0]!.session.send(membership);
    await waitFor(() => expect(pool.objects[0]!.frames).toHaveLength(2));
    // Its own numbers, and its own epoch.
    expect(pool.objects[0]!.frames.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(uses[0]!.resyncs).toBe(1);
    const epochs = pool.objects.slice(0, 2).map(({ hellos }) => hellos[0]!.epoch);
    expect(new Set(epochs).size).toBe(2);
  });

  it("stays with one that is not counted any more until all was said to it", async () => {
    pool.objects[0]!.configure = configureOf({ count: 3 });
    open();
    await waitFor(() => expect(shardsOpen()).toEqual([0, 1, 2]));
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    uses[2]!.isDone = false;
    pool.objects[0]!.send(configureOf({ count: 1 }));
    await waitFor(() => expect(shardsOpen()).toEqual([0, 2]));
    expect(uses[1]!.isClosed).toBe(true);
    expect(uses[2]!.session.isEstablished).toBe(true);
    // Those that leave say nothing of the agent's health.
    pool.objects[2]!.isWelcoming = false;
    pool.objects[2]!.socket!.terminate();
    await waitFor(() => expect(uses[2]!.session.isEstablished).toBe(false));
    expect(sessions!.isEstablished).toBe(true);
    uses[2]!.isDone = true;
    await waitFor(() => expect(shardsOpen()).toEqual([0]));
    expect(uses[2]!.isClosed).toBe(true);
  });

  it("keeps the session of one that is counted again before it has left", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open({ staysMs: 60_000, staysMsMax: 60_000, lookMs: 10 });
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    pool.objects[0]!.send(configureOf({ count: 1 }));
    await waitFor(() => expect(maps).toHaveLength(2));
    pool.objects[0]!.send(configureOf({ count: 2 }));
    await waitFor(() => expect(maps).toHaveLength(3));
    expect(shardsOpen()).toEqual([0, 1]);
    expect(pool.objects[1]!.upgrades).toHaveLength(1);
  });

  it("gives one up that is never done, after a while", async () => {
    pool.objects[0]!.configure = configureOf({ count: 2 });
    open({ staysMs: 0, staysMsMax: 200, lookMs: 10 });
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    uses[1]!.isDone = false;
    pool.objects[0]!.send(configureOf({ count: 1 }));
    await waitFor(() => expect(shardsOpen()).toEqual([0]));
    expect(uses[1]!.isClosed).toBe(true);
  });

  it("dials one that somebody has had to do with, and no more than a pool can have", async () => {
    pool.objects[0]!.configure = configureOf({ count: 1 });
    open({ staysMs: 60_000, staysMsMax: 60_000, lookMs: 10 });
    await waitFor(() => expect(sessions!.isEstablished).toBe(true));
    expect(sessions!.wanted(3)?.shard).toBe(3);
    expect(sessions!.wanted(16)).toBeUndefined();
    await waitFor(() => expect(pool.objects[3]!.hellos).toHaveLength(1));
    expect(sessions!.isEstablished).toBe(true);
    pool.objects[0]!.send(configureOf({ count: 4 }));
    await waitFor(() => expect(new Set(shardsOpen())).toEqual(new Set([0, 1, 2, 3])));
    expect(pool.objects[3]!.upgrades).toHaveLength(1);
  });
});
