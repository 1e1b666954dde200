// Which of a pool's objects a pick goes to. Objects that answer as a test says, relays on real sockets.

import { describe, expect, it } from "vitest";
import { SHARDS_ASKED_MAX } from "../../../src/worker/upstream/pick-in-pool.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { parseRequestId } from "../../../src/worker/request-id.ts";
import { ManyPools, type TestPool } from "../support/many-pools.ts";

const SHARDS = 6;

/** Of the first pool, in the order in which they were asked. */
const askedOf = ({ asked }: ManyPools) =>
  asked[0]!.map(({ request }) => parseRequestId(request.requestId)!.shard);

/** The shard that the prompt belongs to; whoever is asked for it first in a pool that answers. */
async function homeOf(fields: object): Promise<number> {
  const pools = new ManyPools([{ shards: SHARDS }]);
  await pools.send(fields);
  return askedOf(pools)[0]!;
}

const PROMPT = { messages: [{ role: "user", content: "one two three ".repeat(100) }] };
const at = (shards: readonly number[], what: NonNullable<TestPool["at"]>[number]) =>
  Object.fromEntries(shards.map((shard) => [shard % SHARDS, what]));
const ALL = Array.from({ length: SHARDS }, (_, shard) => shard);

/** Of this isolate, wherever they were taken. */
function decisionCount(): number {
  const { name } = METRIC.edgeDecisionsTotal;
  const lines = metrics.render().matchAll(new RegExp(`^${name}\\{.*\\} (\\d+)$`, "gm"));
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

describe("a pool's objects", () => {
  it("are asked by the prompt, and name themselves in the request's id", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS }]);
    const first = await pools.send(PROMPT);
    await pools.send(PROMPT);
    expect(askedOf(pools)).toEqual([home, home]);
    expect(parseRequestId(first.requestId)!.shard).toBe(home);
    expect(first.status).toBe(200);
  });

  it("are spread by something of the request's own where there is no prompt to go by", async () => {
    const pools = new ManyPools([{ shards: SHARDS }]);
    for (let i = 0; i < 20; i++) await pools.send();
    expect(new Set(askedOf(pools)).size).toBeGreaterThan(2);
  });

  it.for(["unavailable", "rejected-shutting-down"] as const)(
    "are left for the next one where they are %s, with the same attempt",
    async (why) => {
      const home = await homeOf(PROMPT);
      const pools = new ManyPools([{ shards: SHARDS, at: at([home, home + 1], why) }]);
      const { status, requestId } = await pools.send(PROMPT);
      expect(status).toBe(200);
      expect(askedOf(pools)).toEqual([home, home + 1, home + 2].map((shard) => shard % SHARDS));
      expect(new Set(pools.asked[0]!.map(({ attempt }) => attempt)).size).toBe(1);
      expect(parseRequestId(requestId)!.shard).toBe((home + 2) % SHARDS);
    },
  );

  it("are one decision each, however many of them are asked", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS, at: at([home, home + 1], "unavailable") }]);
    const before = decisionCount();
    await pools.send(PROMPT);
    expect(askedOf(pools)).toHaveLength(3);
    expect(decisionCount()).toBe(before + 1);
  });

  it("that know no endpoints yet leave a request to the first of all", async () => {
    const home = await homeOf(PROMPT);
    expect(home).toBeGreaterThan(0);
    const pools = new ManyPools([
      { shards: SHARDS, at: at(ALL.slice(1), "rejected-no-endpoints") },
    ]);
    const { status, requestId } = await pools.send(PROMPT);
    expect(status).toBe(200);
    expect(askedOf(pools)).toEqual([home, 0]);
    expect(pools.asked[0]!.map(({ attempt }) => attempt)).toEqual([1, 1]);
    expect(parseRequestId(requestId)!.shard).toBe(0);
  });

  it("leave it to the one behind where the first of all has begun anew", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS, at: at([0, home], "rejected-no-endpoints") }]);
    expect((await pools.send(PROMPT)).status).toBe(200);
    expect(askedOf(pools)).toEqual([home, 0, (home + 1) % SHARDS]);
  });

  it("are a pool without endpoints where all that are asked say so", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS, refuses: "rejected-no-endpoints" }]);
    const { status, requestId } = await pools.send(PROMPT);
    expect(status).toBe("no_endpoints");
    expect(askedOf(pools)).toEqual([home, 0, (home + 1) % SHARDS]);
    expect(parseRequestId(requestId)!.shard).toBe(home);
  });

  it("have nobody wait for endpoints before some of them were asked", async () => {
    const pools = new ManyPools([
      { shards: SHARDS, hasQueue: true, refuses: "rejected-no-endpoints" },
    ]);
    const home = await homeOf(PROMPT);
    expect((await pools.send(PROMPT)).status).toBe(200);
    const flows = pools.asked[0]!.map(({ flow }) => flow?.waitsForEndpoints);
    expect(flows).toEqual([false, false, false, true]);
    expect(askedOf(pools)).toEqual([home, 0, (home + 1) % SHARDS, home]);
  });

  it("are not asked again for a while where they are away", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS, at: at([home], "unavailable") }]);
    await pools.send(PROMPT);
    await pools.send(PROMPT);
    expect(askedOf(pools)).toEqual([home, home + 1, home + 1].map((shard) => shard % SHARDS));
  });

  it("are some at most, before another pool is asked", async () => {
    const pools = new ManyPools([{ shards: SHARDS, refuses: "unavailable" }, {}]);
    const { at: served, status } = await pools.send(PROMPT);
    expect({ served, status }).toEqual({ served: 1, status: 200 });
    expect(askedOf(pools)).toHaveLength(SHARDS_ASKED_MAX);
  });

  it("are not left because they are full: others of the pool are, too", async () => {
    const home = await homeOf(PROMPT);
    const pools = new ManyPools([{ shards: SHARDS, at: at([home], "rejected-saturated") }]);
    expect((await pools.send(PROMPT)).status).toBe("pool_saturated");
    expect(askedOf(pools)).toEqual([home]);
  });

  it("send on to as many as there are, with the same attempt", async () => {
    const home = await homeOf(PROMPT);
    expect(home).toBeGreaterThan(0);
    const pools = new ManyPools([{ shards: SHARDS, at: at(ALL.slice(1), { count: 1 }) }]);
    const { status, requestId } = await pools.send(PROMPT);
    expect(status).toBe(200);
    expect(askedOf(pools)).toEqual([home, 0]);
    expect(pools.asked[0]!.map(({ attempt }) => attempt)).toEqual([1, 1]);
    expect(parseRequestId(requestId)!.shard).toBe(0);
    // The next one goes there at once.
    await pools.send(PROMPT);
    expect(askedOf(pools)).toEqual([home, 0, 0]);
  });

  it("that send a request to and fro are left after some of them", async () => {
    const pools = new ManyPools([{ shards: SHARDS, at: at(ALL, { count: 3 }) }, {}]);
    const { at: served, status } = await pools.send(PROMPT);
    expect({ served, status }).toEqual({ served: 1, status: 200 });
    expect(askedOf(pools).length).toBeLessThanOrEqual(3);
  });
});
