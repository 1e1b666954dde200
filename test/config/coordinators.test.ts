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

  it("has a name for every coordinator there can be", () => {
    expect(POOLS_BINDING_NAMES).toHaveLength(COORDINATORS_MAX);
  });
});
