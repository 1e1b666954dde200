import fc from "fast-check";
import { expect, it } from "vitest";
import { IndexedHeap } from "../../../src/scheduler/support/indexed-heap.ts";

interface Item {
  key: number;
  index: number;
}

function createHeap(): IndexedHeap<Item> {
  return new IndexedHeap<Item>(
    (a, b) => a.key < b.key,
    (item, index) => void (item.index = index),
  );
}

it("gives items in order, whatever was added, removed and changed in between", () => {
  const operation = fc.record({
    what: fc.constantFrom("add", "remove", "change"),
    key: fc.integer({ min: 0, max: 20 }),
    at: fc.nat(100),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const heap = createHeap();
      const items: Item[] = [];
      let wrong = 0;
      for (const { what, key, at } of operations) {
        const item = items[at % items.length];
        if (what === "add" || item === undefined) {
          items.push({ key, index: -1 });
          heap.add(items.at(-1)!);
        } else if (what === "remove") {
          const removed = heap.removeAt(item.index);
          items.splice(items.indexOf(item), 1);
          wrong += removed === item && item.index === -1 ? 0 : 1;
        } else {
          item.key = key;
          heap.update(item.index);
        }
        expect(wrong).toBe(0);
        for (const each of items) expect(heap.at(each.index)).toBe(each);
      }
      const keys: number[] = [];
      while (heap.size > 0) keys.push(heap.removeAt(0)!.key);
      expect(keys).toEqual(items.map((each) => each.key).toSorted((a, b) => a - b));
    }),
  );
});

it("removes nothing where nothing lies", () => {
  expect(createHeap().removeAt(0)).toBeUndefined();
});
