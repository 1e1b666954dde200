// What a lead tells the shards of its pool, of what they have told.

import { describe, expect, it, vi } from "vitest";
import type { ShardTold } from "../../../src/durable/shards/contract.ts";
import { NO_LOADS, packLoads, unpackLoads } from "../../../src/durable/shards/endpoint-loads.ts";
import { RESERVED_MS, SHARD_LEASE_MS } from "../../../src/durable/shards/members.ts";
import { PLAN_EVERY_MS, QUIET_MS, ShardLead } from "../../../src/durable/shards/shard-lead.ts";
import { ONE_SHARD, type ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { sampleOf } from "../../../src/scheduler/shards/hot-roots.ts";

function createLead(count = 4, kept: ShardMap = ONE_SHARD) {
  let nowMs = 1_000_000;
  const maps: ShardMap[] = [];
  const shown = { untilMs: -Infinity };
  const pool = { room: 100, capacity: 100 };
  const lead = new ShardLead(
    {
      clock: () => nowMs,
      epoch: "lead",
      isFirst: kept.count === 1,
      pool: () => pool,
      heard: () => undefined,
      mapChanged: (map) => maps.push(map),
      shownUntilMs: () => shown.untilMs,
    },
    kept,
  );
  lead.setCount(count);
  let seq = 0;
  const tell = (shard: number, told: Partial<ShardTold> = {}) =>
    lead.told({
      shard,
      epoch: `s${shard}`,
      seq: ++seq,
      count,
      mapVersion: lead.map.version,
      isLeaving: false,
      wantsAll: true,
      samples: [],
      loads: NO_LOADS,
      prefill: [],
      work: [],
      service: [],
      ...told,
    });
  return { lead, maps, shown, pool, tell, pass: (ms: number) => void (nowMs += ms) };
}

const at = (address: string, requests: number) =>
  packLoads([[address, { requests, tokens: requests * 10, unseen: 1 }]]);
const ask = (shard: number, want: number) => ({
  credit: { scope: "pool/p", holder: `s${shard}`, epoch: "lead", spent: 0, want },
});

describe("a lead", () => {
  it("tells each shard what all others have at endpoints, for as long as they say so", () => {
    const { tell, pass } = createLead();
    tell(0, { loads: at("a", 1) });
    tell(1, { loads: at("a", 2) });
    expect(Object.fromEntries(unpackLoads(tell(2, { loads: at("b", 4) }).loads))).toEqual({
      a: { requests: 3, tokens: 30, unseen: 2, ageMs: 0 },
    });
    pass(SHARD_LEASE_MS - 1);
    expect(unpackLoads(tell(1, { loads: at("a", 5) }).loads).get("a")?.requests).toBe(1);
    pass(1);
    expect(Object.fromEntries(unpackLoads(tell(2).loads))).toEqual({
      a: { requests: 5, tokens: 50, unseen: 1, ageMs: 1 },
    });
  });

  it("tells of dispatches that no sample shows, and how long ago the last of them was told", () => {
    const { tell, pass, shown } = createLead();
    const first = 1_000_000;
    tell(0, { loads: at("a", 1) });
    pass(40);
    tell(1, { loads: at("a", 2) });
    pass(30);
    const told = () => unpackLoads(tell(2).loads).get("a");
    expect(told()).toMatchObject({ requests: 3, unseen: 2, ageMs: 30 });
    shown.untilMs = first;
    expect(told()).toMatchObject({ requests: 3, unseen: 1, ageMs: 30 });
    shown.untilMs = first + 40;
    expect(told()).toMatchObject({ requests: 3, unseen: 0, ageMs: 0 });
  });

  it("takes no message twice, nor one that another has overtaken", () => {
    const { tell } = createLead();
    tell(1, { loads: at("a", 2), seq: 7 });
    tell(1, { loads: at("a", 9), seq: 6 });
    tell(1, { loads: at("a", 9), seq: 7 });
    expect(unpackLoads(tell(2).loads).get("a")?.requests).toBe(2);
    // Another life of the shard begins at 1 again.
    tell(1, { loads: at("a", 4), seq: 1, epoch: "anew" });
    expect(unpackLoads(tell(2).loads).get("a")?.requests).toBe(4);
    tell(99, { loads: at("a", 1_000) });
    tell(-1, { loads: at("a", 1_000) });
    expect(unpackLoads(tell(2).loads).get("a")?.requests).toBe(4);
  });

  it("adds up work and service", () => {
    const { tell } = createLead();
    const total = (key: string, of: number) => ({ key, life: "x", total: of });
    // What they have done before a lead has heard of them is nobody's concern any more.
    tell(1, { prefill: [total("b", 1_000)] });
    tell(2);
    tell(1, { prefill: [total("a", 100)], service: [total("0 acme", 7)] });
    tell(2, { prefill: [total("a", 50)] });
    const { prefill, service } = tell(3);
    expect(prefill).toMatchObject([
      { key: "b", total: 0 },
      { key: "a", total: 150 },
    ]);
    expect(service).toMatchObject([{ key: "0 acme", total: 7 }]);
  });

  it("grants nothing until the grants of a life before have ended, and then what there is room for", () => {
    const { tell, pass, pool } = createLead(4, { count: 4, version: 1, splits: [] });
    expect(tell(1, ask(1, 10)).credit).toBeUndefined();
    pass(QUIET_MS);
    expect(tell(1, ask(1, 10)).credit).toMatchObject({ epoch: "lead", limit: 10 });
    pool.room = 0;
    expect(tell(2, ask(2, 10)).credit).toMatchObject({ limit: 0 });
  });

  it("grants at once where the pool has had one object until now", () => {
    const { tell } = createLead(4, ONE_SHARD);
    expect(tell(1, ask(1, 10)).credit).toMatchObject({ limit: 10 });
  });

  it("grants nothing to a message that comes twice, or that another has overtaken", () => {
    const { lead, tell } = createLead(4, ONE_SHARD);
    expect(tell(1, { ...ask(1, 10), seq: 7 }).credit).toMatchObject({ limit: 10 });
    expect(tell(1, { ...ask(1, 40), seq: 7 }).credit).toBeUndefined();
    expect(tell(1, { ...ask(1, 40), seq: 6 }).credit).toBeUndefined();
    expect(lead.outstanding).toBe(10);
  });

  it("keeps a share for a shard that has fallen silent in its work, and none for one that said so", () => {
    const { tell, pass } = createLead();
    tell(1, { isLeaving: true });
    tell(2);
    pass(QUIET_MS);
    // Half of the room at most, of 100 less a fourth.
    expect(tell(3, ask(3, 1_000)).credit!.limit).toBe(37);
    pass(RESERVED_MS);
    expect(tell(3, ask(3, 1_000)).credit!.limit).toBe(50);
  });

  it("keeps what is left of its share for a shard that is not known to go by a grant yet", () => {
    const { tell } = createLead();
    const first = { credit: { ...ask(1, 5).credit, epoch: "" } };
    expect(tell(1, first).credit!.limit).toBe(5);
    // Half of the room at most, of 100 less what a fourth is more than five.
    expect(tell(2, ask(2, 1_000)).credit!.limit).toBe(40);
    tell(1, ask(1, 5));
    expect(tell(2, ask(2, 1_000)).credit!.limit).toBe(50);
  });

  it("says when requests wait anywhere", () => {
    const { tell, pass } = createLead();
    expect(tell(1).isPressed).toBeUndefined();
    tell(2, { waiting: 3 });
    expect(tell(1).isPressed).toBe(true);
    pass(SHARD_LEASE_MS);
    expect(tell(1).isPressed).toBeUndefined();
  });

  it("plans splits, keeps them when the count changes, and tells who goes by an older map", async () => {
    const { lead, maps, tell, pass } = createLead();
    const head = crypto.getRandomValues(new Uint32Array(16));
    // Eight blocks that all begin with, and two of their own.
    const next = () => Uint32Array.of(...head, ...crypto.getRandomValues(new Uint32Array(4)));
    for (let i = 0; i < 20; i++)
      tell(i % 4, { samples: Array.from({ length: 30 }, () => sampleOf(next(), 1)) });
    expect(lead.map).toEqual({ count: 4, version: 1, splits: [] });
    pass(PLAN_EVERY_MS);
    // Nobody waits for a plan.
    expect(tell(1).map).toBeUndefined();
    await vi.waitFor(() => expect(lead.map.version).toBe(2));
    const { map } = tell(1, { mapVersion: 1 });
    expect(map).toBe(lead.map);
    expect(map).toMatchObject({
      count: 4,
      version: 2,
      splits: [[expect.any(Number), expect.any(Number), 8]],
    });
    expect(tell(2, { mapVersion: 2 }).map).toBeUndefined();
    lead.setCount(2);
    expect(lead.map).toEqual({ ...map, count: 2, version: 3 });
    expect(maps.map(({ version }) => version)).toEqual([1, 2, 3]);
  });

  it("leaves a plan of a map that is another one meanwhile", async () => {
    const { lead, tell, pass } = createLead();
    const prompt = () => crypto.getRandomValues(new Uint32Array(4));
    const samples = () =>
      Array.from({ length: 30 }, () => sampleOf(Uint32Array.of(1, 1, ...prompt()), 1));
    for (let i = 0; i < 20; i++) tell(i % 4, { samples: samples() });
    pass(PLAN_EVERY_MS);
    tell(1);
    lead.setCount(3);
    const { map } = lead;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(lead.map).toBe(map);
  });

  it("that has lost its map says one that is newer than what others have", () => {
    const { lead, tell } = createLead();
    const { map } = tell(3, { mapVersion: 40 });
    expect(map?.version).toBe(41);
    expect(lead.map.version).toBe(41);
  });

  it("goes on with the map that it has kept", () => {
    const kept: ShardMap = { count: 4, version: 9, splits: [[1, 2, 8]] };
    expect(createLead(4, kept).lead.map).toBe(kept);
  });
});
