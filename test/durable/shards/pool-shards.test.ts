// Several real objects of one pool: what they know of each other, what their queues let through, and how
// requests go on when there are more or fewer of them.

import { reset } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { HeldGrant, HeldWait, NumberedPlace } from "../../../src/durable/contract.ts";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { prepareShards, shardOf } from "../../../src/scheduler/shards/shard-of.ts";
import { contentKeys, until } from "../pool-client.ts";
import { flowPick } from "../queue/flow-pool.ts";
import {
  askShard,
  configureShards,
  connectAgents,
  isTogether,
  loseMemory,
  metricOf,
  openTickets,
  serve,
  shardStub,
  upTo,
} from "./sharded-pool.ts";

afterEach(() => reset());

const SHARDS = 3;
const CAPACITY = 2 * 3;
const map = (count: number): ShardMap => ({ count, version: 0, splits: [] });

async function shardedPool(count = SHARDS, written = upTo(3)) {
  await configureShards(count, { written, version: 1 });
  return connectAgents(count, 2);
}

/** Keys of prompts that belong to that one of so many. */
function keysOf(shard: number, count: number, from = 0): Uint32Array {
  const shards = prepareShards(map(count));
  for (let i = from; ; i++) {
    const keys = contentKeys(i, 8);
    if (shardOf(keys, shards, 1) === shard) return keys;
  }
}

/** Picks at one shard, all at once; those that were let through, and those that wait. */
async function burst(shard: number, requests: number, name = "r") {
  const answers = await Promise.all(
    Array.from({ length: requests }, (_, i) => askShard(shard, flowPick(`${name}-${shard}-${i}`))),
  );
  return {
    grants: answers.filter((answer) => answer.ok === true) as HeldGrant[],
    waits: answers.filter((answer) => answer.ok === "queued" && "handle" in answer) as HeldWait[],
  };
}

const total = async (shards = SHARDS) =>
  (await openTickets(shards)).reduce((sum, open) => sum + open, 0);

describe("shards of a pool", () => {
  it("let through their share each, before the lead grants anything", async () => {
    await shardedPool();
    // One that begins anew does not for a while: grants of the life before may be in use.
    await loseMemory(0);
    await until(async () => (await openTickets(1))[0] === 0);
    const bursts = await Promise.all([0, 1, 2].map((shard) => burst(shard, 5)));
    // Nothing before it has answered.
    expect(bursts.slice(1).map(({ grants }) => grants.length)).toEqual([0, 0]);
    await until(async () => (await openTickets(SHARDS)).slice(1).every((open) => open === 2));
    expect(await total()).toBeLessThanOrEqual(CAPACITY);
    for (const { grants, waits } of bursts)
      for (const each of [...grants, ...waits]) each[Symbol.dispose]();
  });

  it("let through by the lead's credit all there is room for, at whichever it is wanted", async () => {
    await shardedPool();
    const { grants, waits } = await burst(2, 8);
    expect(grants.length).toBe(0);
    const granted: HeldGrant[] = [];
    for (const wait of waits)
      wait.handle.wait().then(
        (grant) => granted.push(grant as HeldGrant),
        () => undefined,
      );
    // The others are idle, and so all of it becomes its own.
    await until(async () => (await total()) === CAPACITY);
    expect(await isTogether(2)).toBe(true);
    expect(await openTickets(SHARDS)).toEqual([0, 0, CAPACITY]);
    // Full for everybody else.
    const late = await burst(0, 1);
    expect(late.grants).toEqual([]);
    await until(
      async () => (await isTogether(0)) && (await shardStub(0).queueState())!.saturation >= 1,
    );
    const [first, ...rest] = granted.splice(0);
    first![Symbol.dispose]();
    await until(() => granted.length === 1 || openTickets(SHARDS).then(([at]) => at === 1));
    expect(await total()).toBeLessThanOrEqual(CAPACITY);
    for (const each of [...rest, ...granted, ...waits, ...late.waits]) each[Symbol.dispose]();
  });

  it("let through who cannot wait in an idle pool, also just after they have woken", async () => {
    await shardedPool();
    const { flow: _, ...hurried } = flowPick("hurried");
    const grant = await askShard(2, hurried);
    expect(grant.ok).toBe(true);
    // By credit, as who waits: so they are no more than the pool holds.
    expect(await isTogether(2)).toBe(true);
    const granted = await Promise.all(
      Array.from({ length: CAPACITY }, (_each, i) => {
        const { request, ...more } = hurried;
        return askShard(1, { ...more, request: { ...request, requestId: `h-${i}` } });
      }),
    );
    expect(granted.filter(({ ok }) => ok === true).length).toBeGreaterThan(0);
    expect(granted.filter(({ ok }) => ok === "queued")).toEqual([]);
    expect(await total()).toBeLessThanOrEqual(CAPACITY);
    for (const each of [grant, ...granted])
      if (each.ok === true) (each as HeldGrant)[Symbol.dispose]();
  });

  it("never have more under way than the pool holds, whatever comes where", async () => {
    await shardedPool();
    let most = 0;
    let held = 0;
    let served = 0;
    const requests = Array.from({ length: 90 }, async (_, i) => {
      await scheduler.wait((i % 9) * 400);
      const answer = await serve(flowPick(`q${i}`, { keys: contentKeys(i, 6) }), map(SHARDS));
      if (!answer.ok) throw new Error(answer.detail);
      const grant = answer as HeldGrant;
      held += 1;
      most = Math.max(most, held);
      await scheduler.wait(20 + (i % 5) * 20);
      held -= 1;
      grant[Symbol.dispose]();
      served += 1;
    });
    await Promise.all(requests);
    expect(served).toBe(90);
    expect(most).toBeLessThanOrEqual(CAPACITY);
    await until(async () => (await total()) === 0);
  }, 40_000);

  it("go on with their share while the lead is away, and together when it is back", async () => {
    await shardedPool();
    const before = await burst(1, 6, "before");
    await until(async () => (await openTickets(SHARDS))[1] === CAPACITY);
    await loseMemory(0);
    for (const each of [...before.grants, ...before.waits]) each[Symbol.dispose]();
    await until(async () => (await openTickets(SHARDS))[1] === 0);
    const after = await burst(1, 6, "after");
    await until(async () => (await openTickets(SHARDS))[1]! >= 2);
    await until(async () => (await openTickets(SHARDS))[1] === CAPACITY);
    expect(await isTogether(1)).toBe(true);
    for (const each of [...after.grants, ...after.waits]) each[Symbol.dispose]();
  });

  it("send new requests on once they do not count, and keep what they have until it ends", async () => {
    const written = upTo(3);
    await shardedPool(SHARDS, written);
    const keys = keysOf(2, SHARDS);
    const first = (await serve(flowPick("a", { keys }), map(SHARDS))) as HeldGrant;
    const { waits, grants } = await burst(2, 4, "w");
    const waiting = waits.map((wait) => wait.handle.wait());
    await configureShards(2, { written, version: 2, told: SHARDS });
    // Who waits is told to ask again at once; who asks, where to.
    const told = (await Promise.all(waiting)).filter(({ ok }) => ok === "queued");
    expect(told.length).toBeGreaterThan(0);
    expect(told.map((place) => (place as NumberedPlace).askAgainMs)).toEqual(told.map(() => 0));
    expect(await askShard(2, flowPick("b", { keys }))).toMatchObject({
      ok: "moved",
      shards: { count: 2 },
    });
    expect((await shardStub(2).queueState())!.waiting.requests).toBe(0);
    // The same request as before still has its grant.
    const again = (await askShard(2, flowPick("a", { keys }))) as HeldGrant;
    expect(again).toMatchObject({ ok: true, ticket: first.ticket });
    // The lead still counts what is under way there.
    await until(async () => (await metricOf(2, "fairlead_shard_count")) === 2);
    await burst(0, 1, "wake").then(({ grants: woken }) =>
      woken.forEach((each) => each[Symbol.dispose]()),
    );
    for (const each of [again, first, ...grants, ...waits]) each[Symbol.dispose]();
    await until(async () => (await openTickets(SHARDS))[2] === 0);
  });

  it("keep each their part of what may wait, and whoever waits when that becomes less", async () => {
    const base = upTo(1);
    const written = { ...base, flowControl: { ...base.flowControl, maxRequests: 4 } };
    await configureShards(1, { written, version: 1 });
    await connectAgents(1, 1);
    const before = await burst(0, 5, "before");
    expect([before.grants.length, before.waits.length]).toEqual([1, 4]);
    const ends = before.waits.map(async (wait) => {
      const answer = await wait.handle.wait();
      if (answer.ok === true) (answer as HeldGrant)[Symbol.dispose]();
      return answer.ok;
    });
    await configureShards(2, { written, version: 2 });
    expect((await shardStub(0).queueState())!.waiting.requests).toBe(4);
    for (const grant of before.grants) grant[Symbol.dispose]();
    expect(await Promise.all(ends)).toEqual([true, true, true, true]);
    const [held] = (await burst(0, 1, "held")).waits;
    const after = await burst(0, 6, "after");
    expect((await shardStub(0).queueState())!.limits.requests).toBe(2);
    expect(after.grants.length + after.waits.length).toBeLessThanOrEqual(3);
    for (const each of [...after.grants, ...after.waits, ...before.waits]) each[Symbol.dispose]();
    held?.[Symbol.dispose]();
  });

  it("lose no request when there are more of them, fewer, and again more", async () => {
    const written = upTo(3);
    await configureShards(1, { written, version: 1 });
    await connectAgents(1, 2);
    let served = 0;
    const seen = { moved: 0 };
    const known = { map: map(1) };
    const requests = Array.from({ length: 160 }, async (_, i) => {
      await scheduler.wait(i * 25);
      const request = flowPick(`q${i}`, { keys: contentKeys(i, 6) });
      const answer = await serve(request, known.map, seen);
      if (!answer.ok) throw new Error(`${i}: ${answer.detail}`);
      await scheduler.wait(30);
      (answer as HeldGrant)[Symbol.dispose]();
      served += 1;
    });
    const change = async (count: number, told: number, version: number) => {
      await scheduler.wait(900);
      await configureShards(count, { written, version, told });
      if (count > 1) await connectAgents(count, 2);
      known.map = map(count);
    };
    await change(3, 3, 2);
    await change(2, 3, 3);
    // Workers go on by the map that they have, for a while.
    known.map = map(3);
    await change(3, 3, 4);
    await change(1, 3, 5);
    await Promise.all(requests);
    expect(served).toBe(160);
    expect(seen.moved).toBeGreaterThan(0);
    await until(async () => (await total()) === 0);
  }, 60_000);
});
