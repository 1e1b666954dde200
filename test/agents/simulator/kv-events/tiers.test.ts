import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BatchHistory } from "../../../../src/agents/simulator/kv-events/batch-history.ts";
import { HashLru } from "../../../../src/agents/simulator/kv-events/hash-lru.ts";
import {
  isBound,
  offsetEndpoint,
  portOf,
} from "../../../../src/agents/simulator/kv-events/sockets.ts";

describe("HashLru", () => {
  it("is what replaying what it tells gives, and holds no more than its size", () => {
    const puts = fc.array(fc.uniqueArray(fc.bigInt(0n, 12n), { minLength: 1, maxLength: 8 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), puts, (size, rounds) => {
        const lru = new HashLru(size);
        const told = new Set<bigint>();
        let naive: bigint[] = [];
        for (const hashes of rounds) {
          const { added, removed } = lru.put(hashes);
          for (const hash of removed) expect(told.delete(hash)).toBe(true);
          for (const hash of added) {
            expect(told.has(hash)).toBe(false);
            told.add(hash);
          }
          for (const hash of hashes) {
            naive = [...naive.filter((other) => other !== hash), hash].slice(-size);
          }
          expect([...lru.hashes]).toEqual(naive);
          expect(new Set(naive)).toEqual(told);
        }
      }),
    );
  });
});

describe("BatchHistory", () => {
  it("keeps the last batches, oldest first, and gives those from a number on", () => {
    const history = new BatchHistory(3);
    const kept = (first: number) => history.from(first).map(({ sequence }) => sequence);
    for (const sequence of [1, 2, 5, 6, 7]) {
      history.push({ sequence, payload: new Uint8Array() });
    }
    expect(kept(0)).toEqual([5, 6, 7]);
    expect(kept(6)).toEqual([6, 7]);
    expect(kept(8)).toEqual([]);
    expect(history.count).toBe(3);
    history.clear();
    expect(kept(0)).toEqual([]);
    history.push({ sequence: 0, payload: new Uint8Array() });
    expect(kept(0)).toEqual([0]);
  });
});

describe("addresses", () => {
  it.for([
    ["tcp://*:5557", 2, "tcp://*:5559"],
    ["tcp://[::]:5557", 1, "tcp://[::]:5558"],
    ["tcp://127.0.0.1:*", 2, "tcp://127.0.0.1:*"],
    ["tcp://127.0.0.1:0", 2, "tcp://127.0.0.1:0"],
    ["inproc://kv", 2, "inproc://kv_dp2"],
    ["ipc:///run/kv", 2, "ipc:///run/kv"],
  ] as const)("%s, %i further, is %s", ([endpoint, offset, expected]) => {
    expect(offsetEndpoint(endpoint, offset)).toBe(expected);
  });

  it("are bound as vLLM does", () => {
    const bound = [
      "tcp://*:5557",
      "tcp://[::]:5557",
      "tcp://127.0.0.1:*",
      "ipc:///a",
      "inproc://a",
    ];
    expect(bound.filter((endpoint) => !isBound(endpoint))).toEqual([]);
    expect(isBound("tcp://collector:5557")).toBe(false);
    expect([portOf("tcp://0.0.0.0:5557"), portOf("ipc:///a")]).toEqual([5557, undefined]);
  });
});
