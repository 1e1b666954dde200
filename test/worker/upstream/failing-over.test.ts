// From pool to pool, until the first byte: relays on real sockets that die, refuse and recover.

import { expect, describe, inject, it } from "vitest";
import { BREAKER_DEFAULTS } from "../../../src/scheduler/pools/breaker.ts";
import { REQUESTS_PER_RETRY } from "../../../src/scheduler/support/retry-budget.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { breakers } from "../../../src/worker/pools/breakers.ts";
import { views } from "../../../src/worker/upstream/pick-in-pool.ts";
import { ATTEMPTS_PER_POOL_MAX } from "../../../src/worker/upstream/try-pool.ts";
import { ManyPools } from "../support/many-pools.ts";

const DEAD = () => [inject("deadUrl")];

describe("a pool whose only relay is lost", () => {
  it("is left at once, and by requests that come later not even asked", async () => {
    const pools = new ManyPools([{ relays: DEAD() }, {}]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 1, facts: { endpointsTried: 2 } });
    expect(await pools.send()).toMatchObject({ status: 200, at: 1, facts: { endpointsTried: 1 } });
    expect(pools.asked[0]).toHaveLength(1);
    expect(pools.released).toEqual([["relay-unreachable"], []]);
  });

  it.for(["json", "stream"])("loses no %s that waits for its first byte", async (kind) => {
    const pools = new ManyPools([{}, {}]);
    const fields = { user: "reset@0", ...(kind === "stream" ? { stream: true } : {}) };
    const all = await Promise.all(Array.from({ length: 40 }, () => pools.send(fields)));
    expect(new Set(all.map(({ status, at }) => `${status} ${at}`))).toEqual(new Set(["200 1"]));
    expect(new Set(all.map(({ requestId }) => requestId)).size).toBe(40);
    expect(pools.released[0]).toEqual(Array(40).fill("relay-unreachable"));
  });

  it("is tried against its breaker's word where there is no other", async () => {
    const pools = new ManyPools([{ relays: DEAD() }]);
    const { facts } = await pools.send();
    expect(facts.endpointsTried).toBe(ATTEMPTS_PER_POOL_MAX);
    expect((await pools.send()).facts.endpointsTried).toBe(ATTEMPTS_PER_POOL_MAX);
  });

  it("is tried by one request when its lease is over, and is back when that is answered", async () => {
    const pools = new ManyPools([{}, {}]);
    expect(await pools.send({ user: "reset@0" })).toMatchObject({ at: 1 });
    const [name] = pools.names as [string];
    await expect.poll(() => breakers.state(name, Date.now()), { timeout: 3_000 }).toBe("half-open");
    const slow = pools.send({ user: "slow@0" });
    await expect.poll(() => pools.asked[0]!.length).toBe(2);
    expect(await pools.send()).toMatchObject({ at: 1 });
    expect(await slow).toMatchObject({ status: 200, at: 0 });
    expect(await pools.send()).toMatchObject({ at: 0 });
  });
});

describe("a relay that has fallen silent", () => {
  it("is left by all that wait for it, and asked by one of them whether it is there", async () => {
    const pools = new ManyPools([{ relays: [inject("silentUrl")] }, {}]);
    const startedAtMs = Date.now();
    const all = await Promise.all(Array.from({ length: 8 }, () => pools.send()));
    expect(new Set(all.map(({ status, at }) => `${status} ${at}`))).toEqual(new Set(["200 1"]));
    // Far from the 15 minutes that an answer may take.
    expect(Date.now() - startedAtMs).toBeLessThan(20_000);
    expect(pools.released[0]).toEqual(Array(8).fill("relay-unreachable"));
    expect(await pools.send()).toMatchObject({ at: 1, facts: { endpointsTried: 1 } });
  });

  it("is not what takes long and answers when it is asked", async () => {
    const pools = new ManyPools([{}, {}]);
    const slow = await pools.send({ user: "slow:2000@0" });
    expect(slow).toMatchObject({ status: 200, at: 0, facts: { endpointsTried: 1 } });
  });

  it("is not one that is far away", async () => {
    const pools = new ManyPools([{ relays: [`${inject("relayUrl")}/at/far`] }, {}]);
    const slow = await pools.send({ user: "slow:3000@far" });
    expect(slow).toMatchObject({ status: 200, at: 0, facts: { endpointsTried: 1 } });
  });
});

describe("a relay that stops", () => {
  it("has its requests moved to the next one of the pool", async () => {
    const pools = new ManyPools([{ relays: ["", `${inject("relayUrl")}/at/other`] }, {}]);
    for (let i = 0; i < 4; i++) {
      expect(await pools.send({ user: "decline:stopping@0" })).toMatchObject({
        status: 200,
        at: 0,
      });
    }
    expect(pools.asked[1]).toEqual([]);
  });

  it("has them moved to the next pool where it is the only one", async () => {
    const pools = new ManyPools([{}, {}]);
    expect(await pools.send({ user: "decline:stopping@0" })).toMatchObject({ status: 200, at: 1 });
    expect(await pools.send()).toMatchObject({ facts: { endpointsTried: 1 }, at: 1 });
  });
});

describe("a pool that answers otherwise", () => {
  it.for([429, 502, 503])("with %i is passed over for one that does not", async (status) => {
    const pools = new ManyPools([{}, {}]);
    expect(await pools.send({ user: `status:${status}@0` })).toMatchObject({ status: 200, at: 1 });
    expect(pools.released).toEqual([["cancelled"], []]);
  });

  it("gives its engine's refusal where no other does better", async () => {
    const pools = new ManyPools([{}, { relays: DEAD() }, {}]);
    const { status, text } = await pools.send({ user: "status:429" });
    expect([status, text]).toEqual([429, '{"error":{"message":"of the engine"}}']);
    expect(pools.released[2]).toEqual(["cancelled"]);
  });

  it("is not left for 429, however often", async () => {
    const pools = new ManyPools([{}, {}]);
    for (let i = 0; i < 2 * BREAKER_DEFAULTS.samplesMin; i++) {
      await pools.send({ user: "status:429@0" });
    }
    expect(breakers.state(pools.names[0]!, Date.now())).toBe("closed");
  });

  it.for(["engine-timeout", "replayed", "evicted"])("with %s is not passed over", async (code) => {
    const pools = new ManyPools([{}, {}]);
    expect(await pools.send({ user: `decline:${code}@0` })).toMatchObject({ at: 0, text: "" });
    expect(pools.asked[1]).toEqual([]);
  });

  it("with a signature it does not know is passed over", async () => {
    const pools = new ManyPools([{}, {}]);
    expect(await pools.send({ user: "decline:unknown-key@0" })).toMatchObject({
      status: 200,
      at: 1,
    });
  });
});

describe("a pool that grants nothing", () => {
  it.for(["rejected-saturated", "rejected-no-endpoints", "unavailable"] as const)(
    "%s, costs no retry",
    async (refuses) => {
      const pools = new ManyPools([{ refuses }, {}]);
      const before = metrics.render().match(RETRIES)?.[1];
      expect(await pools.send()).toMatchObject({
        status: 200,
        at: 1,
        facts: { endpointsTried: 1 },
      });
      expect(metrics.render().match(RETRIES)?.[1]).toBe(before);
    },
  );

  it("is not asked again for a while where its object is away", async () => {
    const pools = new ManyPools([{ refuses: "unavailable" }, {}]);
    await pools.send();
    expect(await pools.send()).toMatchObject({ status: 200, at: 1 });
    expect(pools.asked[0]).toHaveLength(1);
  });

  it("is not waited for while another may have room", async () => {
    const pools = new ManyPools([{ refuses: "rejected-saturated", hasQueue: true }, {}]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 1 });
    expect(pools.asked.flat().map(({ flow }) => flow)).toEqual([undefined, undefined]);
  });

  it("is waited for where its wait is what it was chosen with", async () => {
    const pools = new ManyPools([{ refuses: "rejected-saturated", hasQueue: true }, {}]);
    const [pool] = pools.names as [string];
    const choice = [{ pool, tier: 0, state: "fresh", terms: { waitMs: 20 }, costMs: 20 }];
    expect(await pools.send({}, { choice })).toMatchObject({ status: 200, at: 0 });
  });

  it("is waited for, the first of them, where none has room", async () => {
    const full = { refuses: "rejected-saturated", hasQueue: true } as const;
    const pools = new ManyPools([full, full, { ...full, isFallback: true }]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 0 });
    expect(pools.asked.map(({ length }) => length)).toEqual([2, 1, 0]);
  });

  it("says that it is full rather than that another could not be reached", async () => {
    const pools = new ManyPools([{ refuses: "rejected-saturated" }, { relays: DEAD() }]);
    expect(await pools.send()).toMatchObject({ status: "pool_saturated" });
  });
});

it("pays into a pool's budget for retries once, however often it comes there", async () => {
  const full = { refuses: "rejected-saturated", hasQueue: true } as const;
  const pools = new ManyPools([full, { refuses: "unavailable" }]);
  const { retries } = views.of(pools.names[0]!);
  while (retries.tryWithdraw());
  for (let i = 0; i < REQUESTS_PER_RETRY - 1; i++) await pools.send();
  expect(pools.asked[0]!.length).toBe(2 * (REQUESTS_PER_RETRY - 1));
  expect(retries.tryWithdraw()).toBe(false);
});

const RETRIES = new RegExp(`^${METRIC.workerRetriesTotal.name} (\\d+)$`, "m");

describe("pools tried", () => {
  it("are no more than the configuration says, and come in the order that was chosen", async () => {
    const dead = { relays: DEAD() };
    const pools = new ManyPools([dead, { ...dead, isFallback: true }, dead, {}], {
      retryPoolsMax: 3,
    });
    expect(await pools.send()).toMatchObject({ status: "upstream_unavailable" });
    expect(pools.asked.map(({ length }) => length > 0)).toEqual([true, true, true, false]);
    const attempts = pools.asked.slice(0, 3).map(([first]) => first!.attempt);
    expect(attempts).toEqual(attempts.toSorted((a, b) => a - b));
  });

  it("are not the request's own variant where the choice put it behind a fallback", async () => {
    const pools = new ManyPools([{ isFallback: true }, { relays: DEAD() }]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 0, facts: { endpointsTried: 1 } });
    expect(pools.asked[1]).toEqual([]);
  });

  it("are left for a fallback as soon as they are in trouble", async () => {
    const pools = new ManyPools([{ relays: DEAD() }, { isFallback: true }]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 1, facts: { endpointsTried: 2 } });
    expect(await pools.send()).toMatchObject({ status: 200, at: 1, facts: { endpointsTried: 1 } });
    expect(pools.asked[0]).toHaveLength(1);
  });

  it("are the first that is full, waited for before a fallback is asked", async () => {
    const full = { refuses: "rejected-saturated", hasQueue: true } as const;
    const pools = new ManyPools([{ isFallback: true, refuses: "unavailable" }, full, full]);
    expect(await pools.send()).toMatchObject({ status: 200, at: 1 });
    expect(pools.asked.map(({ length }) => length)).toEqual([1, 2, 1]);
  });
});
