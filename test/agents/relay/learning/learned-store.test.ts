import { expect, it } from "vitest";
import { LearnedStore } from "../../../../src/agents/relay/learning/learned-store.ts";

const keys = (...lows: number[]) => Uint32Array.from(lows.flatMap((low) => [low, 0]));
const bytes = (text: string) => Buffer.from(text);

function told(store: LearnedStore): string[] {
  const texts: string[] = [];
  for (let last = 0; ;) {
    const next = store.after(last);
    if (next === undefined) return texts;
    last = next.number;
    texts.push(next.bytes.toString());
  }
}

it("tells what was learned in that order, from any number on", () => {
  const store = new LearnedStore();
  store.add(keys(1), bytes("a"));
  store.add(keys(2), bytes("b"));
  store.add(keys(3), bytes("c"));
  expect(told(store)).toEqual(["a", "b", "c"]);
  expect(store.after(2)?.bytes.toString()).toBe("c");
  expect(store.after(3)).toBeUndefined();
});

it("lets a conversation's beginning go when it goes on, and what is learned again", () => {
  const store = new LearnedStore();
  store.add(keys(1, 2), bytes("ab"));
  store.add(keys(1, 9), bytes("ax"));
  store.add(keys(1, 2, 3), bytes("abc"));
  store.add(keys(1, 9), bytes("AX"));
  expect(told(store)).toEqual(["abc", "AX"]);
  expect(store.size).toBe(2);
  expect(store.byteLength).toBe(5);
});

it("lets go of the oldest for the bytes, and never of the newest", () => {
  const store = new LearnedStore(4);
  for (let i = 0; i < 5; i++) store.add(keys(i), bytes(`m${i}`));
  expect(told(store)).toEqual(["m3", "m4"]);
  store.add(keys(9), bytes("too long"));
  expect(told(store)).toEqual(["too long"]);
  store.add(keys(10), bytes("ok"));
  expect(told(store)).toEqual(["ok"]);
  expect(store.byteLength).toBe(2);
});

it("gives as many at once as fit, and one that does not", () => {
  const store = new LearnedStore();
  for (let i = 0; i < 5; i++) store.add(keys(i), bytes(`m${i}`));
  const some = (number: number, countMax: number, bytesMax: number) =>
    store.someAfter(number, { countMax, bytesMax }).map((each) => each.number);
  expect(some(1, 2, 100)).toEqual([2, 3]);
  expect(some(0, 9, 7)).toEqual([1, 2, 3]);
  expect(some(0, 9, 1)).toEqual([1]);
  expect(some(4, 9, 100)).toEqual([5]);
  expect(some(5, 9, 100)).toEqual([]);
  expect(store.last).toBe(5);
});
