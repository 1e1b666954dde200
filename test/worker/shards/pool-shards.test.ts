import { describe, expect, it } from "vitest";
import { DEPLOYMENT_LIMITS } from "../../../src/config/deployment.ts";
import type { ShardMap, Split } from "../../../src/scheduler/shards/contracts.ts";
import {
  MAP_UNNAMED_MS,
  MOVED_MS,
  POOLS_MAX,
  PoolShards,
} from "../../../src/worker/shards/pool-shards.ts";

const config = (shards: number, name = "eu-1") => ({ name, shards });
const map = (version: number, count = 4, splits: Split[] = [[version, 7, 3]]): ShardMap => ({
  count,
  version,
  splits,
});

describe("how an isolate spreads a pool's requests", () => {
  it("is by the configuration's count before anything was heard, and at once when it changes", () => {
    const shards = new PoolShards();
    expect(shards.of(config(1), 0).count).toBe(1);
    expect(shards.of(config(4), 0)).toMatchObject({ count: 4, map: { splits: [] } });
    expect(shards.of(config(4), 0)).toBe(shards.of(config(4), 0));
    expect(shards.of(config(2), 0).count).toBe(2);
    expect(shards.of(config(1), 0).count).toBe(1);
  });

  it("is by the splits of the newest map that an object has told, not by its count", () => {
    const shards = new PoolShards();
    shards.heard("eu-1", map(2, 9), 0);
    shards.heard("eu-1", map(1), 0);
    expect(shards.of(config(4), 0)).toMatchObject({ count: 4, map: { splits: [[2, 7, 3]] } });
    shards.heard("eu-1", map(3), 0);
    expect(shards.of(config(4), 0).map.splits).toEqual([[3, 7, 3]]);
    expect(shards.of(config(3), 0)).toMatchObject({ count: 3, map: { splits: [[3, 7, 3]] } });
  });

  it("is by an older map where nobody has named the newer one for long", () => {
    const shards = new PoolShards();
    shards.heard("eu-1", map(9), 0);
    shards.heard("eu-1", map(9), 1_000);
    shards.heard("eu-1", map(1), MAP_UNNAMED_MS);
    expect(shards.of(config(4), 0).map.version).toBe(9);
    shards.heard("eu-1", map(1), MAP_UNNAMED_MS + 1_000);
    expect(shards.of(config(4), 0).map.version).toBe(1);
  });

  it("is by the count of an object that takes no requests, until the configuration is as new", () => {
    const shards = new PoolShards();
    shards.of(config(4), 0);
    shards.moved("eu-1", map(1, 2), 100);
    expect(shards.of(config(4), 100 + MOVED_MS - 1).count).toBe(2);
    expect(shards.of(config(4), 100 + MOVED_MS).count).toBe(4);
    // Also of a pool that it takes for one of one object.
    shards.moved("eu-2", map(1, 3), 0);
    expect(shards.of(config(1, "eu-2"), 0).count).toBe(3);
    expect(shards.of(config(1, "eu-2"), MOVED_MS).count).toBe(1);
  });

  it("is remembered of every pool of a full deployment", () => {
    const shards = new PoolShards();
    expect(POOLS_MAX).toBe(DEPLOYMENT_LIMITS.poolsMax);
    for (let i = 0; i < POOLS_MAX; i++) shards.heard(`p${i}`, map(1), 0);
    expect(shards.of(config(4, "p0"), 0).map.version).toBe(1);
    shards.heard("one-more", map(1), 0);
    expect(shards.of(config(4, "p0"), 0).map.version).toBe(0);
    expect(shards.of(config(4, "one-more"), 0).map.version).toBe(1);
  });
});
