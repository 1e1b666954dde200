import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  COORDINATORS_MAX,
  coordinatorOf,
  POOLS_BINDING_NAMES,
  type PoolsBindings,
  poolsFor,
} from "../../src/config/coordinators.ts";
import { poolAddress } from "../../src/config/pool-address.ts";
import { SHARDS_MAX } from "../../src/scheduler/shards/contracts.ts";

const names = Array.from({ length: 2_000 }, (_, i) => `pool-${i}`);

describe("coordinatorOf", () => {
  it("never changes: data lies where it says", () => {
    const pools = ["local", "llama-eu", "llama-us", "qwen", "a", "b"];
    expect(pools.map((name) => coordinatorOf(name, 2))).toEqual([0, 1, 1, 1, 0, 0]);
    expect(pools.map((name) => coordinatorOf(name, 8))).toEqual([0, 2, 7, 6, 0, 5]);
  });

  it.for([1, 2, 3, COORDINATORS_MAX])("spreads pools evenly over %i", (count) => {
    const held = Array.from({ length: count }, () => 0);
    for (const name of names) held[coordinatorOf(name, count)]!++;
    const fair = names.length / count;
    expect(Math.min(...held)).toBeGreaterThan(fair * 0.8);
    expect(Math.max(...held)).toBeLessThan(fair * 1.2);
  });

  it("moves pools only to the coordinator that was added", () => {
    const added = fc.integer({ min: 1, max: COORDINATORS_MAX - 1 });
    fc.assert(
      fc.property(fc.string({ maxLength: 63 }), added, (name, ordinal) => {
        const before = coordinatorOf(name, ordinal);
        const after = coordinatorOf(name, ordinal + 1);
        expect(after === before || after === ordinal).toBe(true);
      }),
    );
  });

  it.for([0, -1, 1.5, COORDINATORS_MAX + 1])("refuses a count of %d", (count) => {
    expect(() => coordinatorOf("local", count)).toThrow(RangeError);
  });
});

describe("poolsFor", () => {
  const bindings = (count: number) =>
    Object.fromEntries(
      POOLS_BINDING_NAMES.slice(0, count).map((name) => [name, name]),
    ) as unknown as PoolsBindings<string>;

  it.for([1, 2, 3, COORDINATORS_MAX])("agrees with the ordinal where %i are bound", (count) => {
    const env = bindings(count);
    for (const name of names.slice(0, 200))
      expect(poolsFor(env, poolAddress({ name }))).toBe(
        POOLS_BINDING_NAMES[coordinatorOf(name, count)],
      );
  });

  it("goes by the name alone: a jurisdiction moves no pool to another coordinator", () => {
    const env = bindings(COORDINATORS_MAX);
    for (const name of names.slice(0, 50))
      expect(poolsFor(env, poolAddress({ name, jurisdiction: "eu" }))).toBe(
        poolsFor(env, poolAddress({ name })),
      );
  });

  it("goes where a pool was put by hand, and by the hash for all others", () => {
    const env = { ...bindings(3), POOL_PLACES: { local: 2 } };
    expect(coordinatorOf("local", 3)).not.toBe(2);
    expect(poolsFor(env, poolAddress({ name: "local" }))).toBe("POOLS_2");
    // Also one that is named like something every object has.
    for (const name of ["pool-1", "constructor"])
      expect(poolsFor(env, poolAddress({ name }))).toBe(
        POOLS_BINDING_NAMES[coordinatorOf(name, 3)],
      );
  });

  it.for([2, 3, COORDINATORS_MAX])("spreads the shards of each pool over %i", (count) => {
    const env = bindings(count);
    for (const name of names.slice(0, 100)) {
      const held = new Map<string, number>();
      for (let shard = 0; shard < SHARDS_MAX; shard++) {
        const at = poolsFor(env, poolAddress({ name }, shard));
        held.set(at, (held.get(at) ?? 0) + 1);
      }
      expect(held.size).toBe(count);
      expect(Math.max(...held.values()) - Math.min(...held.values())).toBeLessThanOrEqual(1);
    }
  });

  it("puts the shards of a pool that has a place by hand around that place", () => {
    const env = { ...bindings(3), POOL_PLACES: { local: 2 } };
    const at = [0, 1, 2].map((shard) => poolsFor(env, poolAddress({ name: "local" }, shard)));
    expect(at[0]).toBe("POOLS_2");
    expect(new Set(at).size).toBe(3);
  });

  it("never changes where shards are: data lies where it says", () => {
    const at = (shard: number) =>
      poolsFor(bindings(8), poolAddress({ name: "local", jurisdiction: "eu" }, shard));
    expect([0, 1, 2, 3, 4].map(at)).toEqual(["POOLS", "POOLS_3", "POOLS_2", "POOLS_6", "POOLS_5"]);
  });

  it("has a name for every coordinator there can be", () => {
    expect(POOLS_BINDING_NAMES).toHaveLength(COORDINATORS_MAX);
  });
});
