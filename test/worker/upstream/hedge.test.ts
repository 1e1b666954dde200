// The same request asked for twice: relays on real sockets, one of which is slow. In a file of its own: the
// budget it uses up is the isolate's.

import { beforeEach, describe, expect, it } from "vitest";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { HEDGE_BURST, HEDGE_SAMPLES_MIN } from "../../../src/worker/upstream/hedge-times.ts";
import { seenAs } from "../support/deployment.ts";
import { ManyPools, type TestPool } from "../support/many-pools.ts";

const HEDGE = { percentile: 0.95, minMs: 30, budget: 0.5 };

/** Pools whose usual times are known. */
async function knownPools(pools: TestPool[], hedge: object = HEDGE): Promise<ManyPools> {
  const many = new ManyPools(pools, { hedge });
  for (let i = 0; i < HEDGE_SAMPLES_MIN; i++) await many.send();
  many.asked.forEach((asked) => asked.splice(0));
  many.released.forEach((released) => released.splice(0));
  return many;
}

function hedges(outcome: string): number {
  const line = `${METRIC.hedgesTotal.name}{outcome="${outcome}"} `;
  const found = metrics
    .render()
    .split("\n")
    .find((each) => each.startsWith(line));
  return Number(found?.slice(line.length) ?? 0);
}

let before: number[];
const OUTCOMES = ["started", "won", "denied"];
beforeEach(() => (before = OUTCOMES.map(hedges)));
const counted = () => OUTCOMES.map((outcome, i) => hedges(outcome) - before[i]!);

describe("an answer that is late", () => {
  it("is asked for at another pool, whose answer wins; the loser is closed and not billed", async () => {
    const pools = await knownPools([{}, {}]);
    const won = await pools.send({ user: "silent@0" });
    expect(won).toMatchObject({ status: 200, at: 1, facts: { hedge: "won", attempts: 2 } });
    expect(pools.released).toEqual([["hedge-lost", "cancelled"], []]);
    const [[lost], [winner]] = pools.asked as [
      [{ attempt: number; request: { requestId: string } }],
      [(typeof pools.asked)[0][0]],
    ];
    expect(winner.attempt).not.toBe(lost.attempt);
    expect(winner.flow).toBeUndefined();
    await expect.poll(async () => (await seenAs(lost.request.requestId))?.isClientGone).toBe(true);
    expect(won.requestId).toBe(winner.request.requestId);
    expect(counted()).toEqual([1, 1, 0]);
  });

  it("wins all the same if it is first, and the other is not billed", async () => {
    const pools = await knownPools([{}, {}]);
    const slow = await pools.send({ user: "slow" });
    expect(slow).toMatchObject({ status: 200, at: 0, facts: { hedge: "lost" } });
    expect(pools.released[1]).toContain("hedge-lost");
  });

  it("is asked for at another endpoint where there is one pool", async () => {
    const pools = await knownPools([{}]);
    const sent = pools.send({ user: "slow" });
    await expect.poll(() => pools.asked[0]!.length).toBe(2);
    expect(pools.asked[0]![1]!.exclude).toEqual(["10.0.0.1:8000"]);
    expect(await sent).toMatchObject({ status: 200 });
    expect(pools.released[0]).toContain("hedge-lost");
  });

  it("is still the answer if the second way fails", async () => {
    const pools = await knownPools([{}, {}]);
    pools.pools[1]!.refuses = "rejected-saturated";
    expect(await pools.send({ user: "slow@0" })).toMatchObject({ status: 200, at: 0 });
    expect(pools.released).toEqual([[], []]);
  });

  it("ends on both ways when the client leaves", async () => {
    const pools = await knownPools([{}, {}]);
    const client = new AbortController();
    const sent = pools.send({ user: "silent" }, { signal: client.signal });
    await expect.poll(() => pools.asked[1]!.length).toBe(1);
    client.abort();
    expect(await sent).toMatchObject({ status: "client_closed_request" });
    for (const [pick] of pools.asked) {
      const id = pick!.request.requestId;
      await expect.poll(async () => (await seenAs(id))?.isClientGone !== false).toBe(true);
    }
  });
});

describe("no answer is asked for twice", () => {
  it("that is not late", async () => {
    const pools = await knownPools([{}, {}], { ...HEDGE, minMs: 5_000 });
    expect(await pools.send({ user: "slow@0" })).toMatchObject({ at: 0 });
    expect(counted()[0]).toBe(0);
  });

  it("where it is not configured", async () => {
    const pools = new ManyPools([{}, {}]);
    for (let i = 0; i < HEDGE_SAMPLES_MIN; i++) await pools.send();
    expect(await pools.send({ user: "slow@0" })).toMatchObject({ at: 0 });
    expect(pools.asked[1]).toEqual([]);
    expect(counted()[0]).toBe(0);
  });

  it("in a pool of one endpoint, where nobody else could answer, at no cost of the budget", async () => {
    const pools = await knownPools([{ endpoints: ["10.0.0.1:8000"] }]);
    expect(await pools.send({ user: "slow" })).toMatchObject({ status: 200 });
    expect(pools.asked[0]).toHaveLength(1);
    expect(counted()).toEqual([0, 0, 1]);
  });

  it("that nobody could be told not to bill: while the first pool's object is away", async () => {
    const pools = await knownPools([{}, {}]);
    pools.pools[0]!.refuses = "unavailable";
    await pools.send();
    expect(await pools.send({ user: "slow@0" })).toMatchObject({ status: 200, at: 0 });
    expect(pools.asked[1]).toEqual([]);
    expect(counted()[0]).toBe(0);
  });

  it("or while the second's is", async () => {
    const pools = await knownPools([{}, {}]);
    pools.seen(1);
    pools.pools[1]!.refuses = "unavailable";
    expect(await pools.send({ user: "slow@0" })).toMatchObject({
      status: 200,
      at: 0,
      facts: { endpointsTried: 1 },
    });
    expect(counted()).toEqual([1, 0, 0]);
  });

  it("while nobody knows what is late", async () => {
    const pools = new ManyPools([{}, {}], { hedge: HEDGE });
    expect(await pools.send({ user: "slow@0" })).toMatchObject({ at: 0 });
    expect(counted()[0]).toBe(0);
  });
});

it("a budget that is spent denies", async () => {
  const pools = await knownPools([{}, {}], { ...HEDGE, budget: 0 });
  const all = Array.from({ length: HEDGE_BURST + 5 }, () => pools.send({ user: "slow@0" }));
  for (const sent of await Promise.all(all)) expect(sent.status).toBe(200);
  const [started, won, denied] = counted() as [number, number, number];
  expect(started).toBeLessThanOrEqual(HEDGE_BURST);
  expect(won).toBeLessThanOrEqual(started);
  expect(denied).toBeGreaterThan(0);
});
