import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { PoolAddress } from "../../../src/config/pool-address.ts";
import {
  EDGE_BYTES_MAX,
  EDGE_POOLS_MAX,
  EDGE_UNUSED_MS,
  EdgePools,
} from "../../../src/worker/edge/edge-pools.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import { edgePool } from "../support/scripted-object.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const POOL = edgePool();

function use(pools: EdgePools, address: string) {
  return pools.of(address as PoolAddress, POOL, new PoolView());
}

it("are one for each object, whatever directory a request has", () => {
  const pools = new EdgePools();
  const one = use(pools, "eu-1");
  expect(pools.of("eu-1" as PoolAddress, { ...POOL, configVersion: 2 }, new PoolView())).toBe(one);
  expect(use(pools, "eu-1~1")).not.toBe(one);
  expect(pools.at("eu-1" as PoolAddress)).toBe(one);
  expect(pools.at("eu-2" as PoolAddress)).toBeUndefined();
});

it("are bounded: the one that was not used for longest goes", () => {
  const pools = new EdgePools();
  const first = use(pools, "p0");
  for (let i = 1; i < EDGE_POOLS_MAX; i++) {
    vi.advanceTimersByTime(1);
    use(pools, `p${i}`);
  }
  vi.advanceTimersByTime(1);
  expect(use(pools, "p0")).toBe(first);
  use(pools, "one-more");
  expect(pools.size).toBe(EDGE_POOLS_MAX);
  expect(pools.at("p0" as PoolAddress)).toBe(first);
  expect(pools.at("p1" as PoolAddress)).toBeUndefined();
});

it("are given up where nobody uses them", () => {
  const pools = new EdgePools();
  use(pools, "idle");
  vi.advanceTimersByTime(EDGE_UNUSED_MS - 1);
  use(pools, "busy");
  expect(pools.size).toBe(2);
  vi.advanceTimersByTime(10_000);
  use(pools, "busy");
  expect(pools.at("idle" as PoolAddress)).toBeUndefined();
});

it("are given up, but for the one in use, where their replicas take too much", () => {
  const pools = new EdgePools();
  for (const name of ["a", "b", "c"]) {
    vi.advanceTimersByTime(1);
    const bytes = EDGE_BYTES_MAX / 2;
    vi.spyOn(use(pools, name), "byteLength", "get").mockReturnValue(bytes + 1);
  }
  vi.advanceTimersByTime(10_000);
  use(pools, "b");
  expect(pools.size).toBe(1);
  expect(pools.at("b" as PoolAddress)).toBeDefined();
});
