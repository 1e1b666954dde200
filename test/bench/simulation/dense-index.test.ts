import fc from "fast-check";
import { expect, it } from "vitest";
import { DenseIndex } from "../../../bench/simulation/dense-index.ts";

it("agrees with a Map", () => {
  const nameArb = fc.integer({ min: 0, max: 200_000 });
  const stepArb = fc.record({ name: nameArb, block: fc.option(fc.nat(10)) });
  fc.assert(
    fc.property(fc.array(stepArb), (steps) => {
      const index = new DenseIndex();
      const map = new Map<number, number>();
      for (const { name, block } of steps) {
        if (block === null) {
          index.delete(name);
          map.delete(name);
        } else {
          index.set(name, block);
          map.set(name, block);
        }
        expect(index.size).toBe(map.size);
      }
      for (const { name } of steps) expect(index.get(name)).toBe(map.get(name));
    }),
  );
});
