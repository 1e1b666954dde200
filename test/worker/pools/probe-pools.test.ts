import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { Breakers } from "../../../src/scheduler/pools/breakers.ts";
import { PROBES_PER_REQUEST_MAX, probePools } from "../../../src/worker/pools/probe-pools.ts";
import { RttMeter } from "../../../src/worker/pools/rtt-meter.ts";
import { poolsDirectory } from "./support/many-pools.ts";

const KEYS = [{ id: "k1", secret: "a-secret-0123456789" }];
const relay = (url: string) => ({ url, keys: KEYS });

/** Probes the pools, and waits for that. */
async function probed(pools: readonly Record<string, unknown>[], env: object = {}) {
  const rtts = new RttMeter();
  const breakers = new Breakers();
  const held: Promise<void>[] = [];
  const hold = (work: Promise<void>) => void held.push(work);
  const begin = () => probePools(poolsDirectory(pools).pools, { rtts, breakers, env, hold });
  begin();
  await Promise.all(held);
  const state = (pool: string) => breakers.state(pool, Date.now());
  return { rtts, state, held, begin };
}

describe("probes", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  it("measure pools that have a relay, and hold nothing against them", async () => {
    const pools = ["a", "b"].map((name) => ({ name, relays: [relay(inject("relayUrl"))] }));
    const { rtts, state } = await probed(pools);
    for (const { name } of pools) {
      expect(rtts.rttMs(name, Date.now())).toBeGreaterThanOrEqual(0);
      expect(state(name)).toBe("closed");
    }
  });

  it("are few for a request, and go to the others with the next", async () => {
    const relays = [relay(inject("relayUrl"))];
    const names = Array.from({ length: PROBES_PER_REQUEST_MAX + 1 }, (_, i) => `p${i}`);
    const { rtts, held, begin } = await probed(names.map((name) => ({ name, relays })));
    expect(held).toHaveLength(PROBES_PER_REQUEST_MAX);
    begin();
    await Promise.all(held);
    expect(held).toHaveLength(names.length);
    for (const name of names) expect(rtts.rttMs(name, Date.now())).toBeDefined();
    begin();
    expect(held).toHaveLength(names.length);
  });

  it("open the breaker of a pool whose only relay is not there", async () => {
    const { rtts, state } = await probed([{ name: "a", relays: [relay(inject("deadUrl"))] }]);
    expect(state("a")).toBe("open");
    expect(rtts.rttMs("a", Date.now())).toBeUndefined();
  });

  it("leave the breaker of a pool alone that has another relay, or none", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const [dead, good] = [inject("deadUrl"), inject("relayUrl")];
    const upstreams = [{ name: "u", kind: "openai", url: dead }];
    const { state } = await probed([
      { name: "two", relays: [relay(dead), relay(good)] },
      { name: "api", relays: [], upstreams },
    ]);
    expect([state("two"), state("api")]).toEqual(["closed", "closed"]);
  });

  it("are held against a pool a little where they could not even be sent", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new Error("Too many subrequests.")));
    const { state } = await probed([{ name: "a", relays: [relay(inject("relayUrl"))] }]);
    expect(state("a")).toBe("closed");
  });

  it("say nothing of a pool that was lost and found again meanwhile", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    vi.stubGlobal("fetch", () => promise);
    const breakers = new Breakers();
    const held: Promise<void>[] = [];
    const { pools } = poolsDirectory([{ name: "a", relays: [relay(inject("relayUrl"))] }]);
    const hold = (work: Promise<void>) => void held.push(work);
    probePools(pools, { rtts: new RttMeter(), breakers, env: {}, hold });
    const failure = { permit: "pass", outcome: "failure", isFatal: true } as const;
    breakers.record("a", failure, Date.now(), Math.random);
    const laterMs = Date.now() + 1;
    breakers.record("a", { permit: "probe", outcome: "success" }, laterMs, Math.random);
    reject(new Error("Network connection lost."));
    await Promise.all(held);
    expect(breakers.state("a", Date.now())).toBe("closed");
  });

  it("do not prolong what keeps requests away", async () => {
    const [breakers, held] = [new Breakers(), [] as Promise<void>[]];
    const failure = { permit: "pass", outcome: "failure", isFatal: true } as const;
    // Half-open by now: the next request may look.
    breakers.record("a", failure, Date.now() - 10_000, Math.random);
    const { pools } = poolsDirectory([{ name: "a", relays: [relay(inject("deadUrl"))] }]);
    const hold = (work: Promise<void>) => void held.push(work);
    probePools(pools, { rtts: new RttMeter(), breakers, env: {}, hold });
    await Promise.all(held);
    expect(breakers.state("a", Date.now())).toBe("half-open");
  });

  it("go nowhere in place of a binding that is not there", async () => {
    const asked = vi.spyOn(globalThis, "fetch");
    const upstreams = [{ name: "u", kind: "openai", url: inject("relayUrl"), binding: "CLUSTER" }];
    const { rtts } = await probed([{ name: "api", relays: [], upstreams }]);
    expect(asked).not.toHaveBeenCalled();
    expect(rtts.rttMs("api", Date.now())).toBeUndefined();
  });

  it("go through the binding of an upstream that has one", async () => {
    const asked: string[] = [];
    const fetcher = {
      fetch: (url: string, { method }: RequestInit) => {
        asked.push(`${method} ${url}`);
        return Promise.resolve(new Response(null));
      },
    };
    const url = "http://nowhere.invalid";
    const upstreams = [{ name: "u", kind: "openai", url, binding: "CLUSTER" }];
    const pools = [{ name: "api", relays: [], upstreams }];
    const { rtts } = await probed(pools, { CLUSTER: fetcher });
    expect(asked).toEqual(Array<string>(2).fill(`HEAD ${url}`));
    expect(rtts.rttMs("api", Date.now())).toBeDefined();
  });
});
