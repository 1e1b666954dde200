import { reset, runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { JournalStorage } from "../../../src/durable/prefix/journal-storage.ts";
import {
  JOURNAL_LIMITS,
  type JournalLimits,
  type JournalStore,
  PrefixJournal,
} from "../../../src/durable/prefix/journal.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { ApproximatePrefix } from "../../../src/scheduler/kv/approximate-prefix.ts";
import { CHUNK_BYTES_MAX } from "../../../src/scheduler/kv/journal-chunk.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { endpoint, poolStub } from "../pool-client.ts";

const SLOTS = 4;
const START_MS = 1_790_000_000_000;

/** Rows in memory, as storage keeps them. */
class MemoryStore implements JournalStore {
  readonly rows = new Map<number, unknown>();
  endpoints: unknown;

  journalRow(seq: number) {
    const next = [...this.rows.keys()].filter((each) => each > seq).toSorted((a, b) => a - b)[0];
    return next === undefined ? undefined : { seq: next, value: this.rows.get(next) };
  }

  putJournal(seq: number, value: unknown): void {
    this.rows.set(seq, value);
  }

  deleteJournal(seq: number): void {
    this.rows.delete(seq);
  }

  journalEndpoints(): unknown {
    return this.endpoints;
  }

  putJournalEndpoints(value: unknown): void {
    this.endpoints = value;
  }
}

/** One life of an object, as far as the journal is concerned. */
class Life {
  readonly table = new EndpointTable();
  readonly prefix = new ApproximatePrefix(new PrefixTree({ slotsMax: SLOTS }), SLOTS);
  readonly tree = this.prefix.tree;
  readonly journal: PrefixJournal;
  nowMs: number;

  constructor(store: JournalStore, nowMs = START_MS, limits: JournalLimits = JOURNAL_LIMITS) {
    this.nowMs = nowMs;
    for (let slot = 0; slot < SLOTS; slot++) this.table.add(endpoint(slot));
    const { prefix, table } = this;
    this.journal = new PrefixJournal({ store, prefix, table, limits, clock: () => this.nowMs });
  }

  restore(): this {
    while (!this.journal.isRestored) this.journal.restoreRow();
    return this;
  }

  learn(keys: Uint32Array, slot: number): void {
    this.journal.learned(keys, slot, this.tree.insert(keys, slot));
  }

  forget(keys: Uint32Array, slot: number): void {
    this.tree.removeHolder(keys, slot);
    this.journal.forgotten(keys, slot);
  }

  /** As often as the object's tick would, until nothing is left to write. */
  write(): void {
    for (let i = 0; i < 10_000 && this.journal.isDirty; i++) {
      this.nowMs += JOURNAL_LIMITS.writeIntervalMs;
      this.journal.write();
    }
    if (this.journal.isDirty) throw new Error("the journal is never done");
  }

  held(slot: number): Set<string> {
    const words = 2 * this.tree.heldCount + 4_096;
    return new Set(names(this.tree.readHeld(slot, 0, new Uint32Array(words)).keys));
  }

  allHeld(): Set<string>[] {
    return Array.from({ length: SLOTS }, (_, slot) => this.held(slot));
  }
}

/** `blocks` keys that no other `name` has, spread like the hashes they stand for. */
function path(name: number, blocks: number): Uint32Array {
  const rng = createRng(name);
  return Uint32Array.from({ length: blocks * 2 }, () => rng() * 4_294_967_296);
}

function names(keys: Uint32Array): string[] {
  return Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`);
}

const SMALL = { ...JOURNAL_LIMITS, checkpointBytesMin: 2_000, checkpointBlocksMax: 50 };

describe("the journal", () => {
  const step = fc.record({
    act: fc.constantFrom("learn", "learn", "learn", "learn", "forget", "evict", "remove", "write"),
    name: fc.integer({ min: 1, max: 12 }),
    blocks: fc.integer({ min: 1, max: 40 }),
    slot: fc.integer({ min: 0, max: SLOTS - 1 }),
  });

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  function play(life: Life, { act, name, blocks, slot }: Step): void {
    switch (act) {
      case "learn":
        return life.learn(path(name, blocks), slot);
      case "forget":
        return life.forget(path(name, blocks), slot);
      case "evict":
        return life.tree.setCapacity(slot, blocks);
      case "remove":
        life.tree.removeEndpoint(slot);
        return life.journal.endpointRemoved(slot);
      case "write":
        life.nowMs += 1_000;
        return life.journal.write();
    }
  }

  it("brings back what the tree held, and after a checkpoint nothing else", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const store = new MemoryStore();
        const life = new Life(store, START_MS, SMALL);
        const learned = life.allHeld();
        for (const each of steps) {
          play(life, each);
          const blocks = names(path(each.name, each.blocks));
          if (each.act === "learn") blocks.forEach((name) => learned[each.slot]!.add(name));
          if (each.act === "forget") blocks.forEach((name) => learned[each.slot]!.delete(name));
          if (each.act === "remove") learned[each.slot]!.clear();
        }
        life.write();
        const again = new Life(store, life.nowMs, SMALL).restore();
        again.allHeld().forEach((held, slot) => {
          // Evictions are not written: between what was held and all that was learned.
          expect([...life.held(slot)].filter((name) => !held.has(name))).toEqual([]);
          expect([...held].filter((name) => !learned[slot]!.has(name))).toEqual([]);
        });
        // Half the age on, the oldest row is old: the next write begins a checkpoint.
        life.nowMs += JOURNAL_LIMITS.ageMaxMs / 2;
        life.learn(path(99, 1), 0);
        life.write();
        const last = new Life(store, life.nowMs, SMALL).restore();
        expect(last.allHeld()).toEqual(life.allHeld());
      }),
      { numRuns: 60 },
    );
  });

  it("does not bring back what was taken back", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    life.learn(path(1, 5), 0);
    life.learn(path(1, 5), 1);
    life.forget(path(1, 5).subarray(2 * 2), 0);
    life.write();
    const again = new Life(store, life.nowMs).restore();
    expect(again.allHeld().map((held) => held.size)).toEqual([2, 5, 0, 0]);
  });

  it("remembers how large the caches are, so that no more comes back than fits", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    life.table.applySample(1, { waiting: 0, kvBlockSize: CONTENT_BLOCK_TOKENS, kvBlocks: 150 }, 0);
    for (let name = 1; name <= 10; name++) {
      life.prefix.setCapacity(1, life.table.columns.kvCapacityTokens[1]!);
      life.learn(path(name, 100), 1);
    }
    life.write();
    const again = new Life(store, life.nowMs).restore();
    expect(again.held(1)).toEqual(life.held(1));
    expect(again.held(1).size).toBe(150);
  });

  it("goes on over many lives", () => {
    const store = new MemoryStore();
    let nowMs = START_MS;
    const learned = new Set<string>();
    for (let life = 1; life <= 5; life++) {
      const object = new Life(store, nowMs, SMALL).restore();
      expect(object.held(1)).toEqual(learned);
      object.learn(path(life, 300), 1);
      names(path(life, 300)).forEach((name) => learned.add(name));
      object.write();
      nowMs = object.nowMs;
    }
    expect(learned.size).toBe(1_500);
  });

  it("keeps its bytes near those of what is held, however much is learned and evicted", () => {
    const store = new MemoryStore();
    const life = new Life(store, START_MS, { ...SMALL, checkpointBlocksMax: 2_000 });
    life.tree.setCapacity(0, 1_000);
    for (let name = 1; name <= 400; name++) {
      life.learn(path(name, 100), 0);
      life.nowMs += 1_000;
      life.journal.write();
    }
    life.write();
    expect(life.journal.byteLength).toBeLessThan(5 * 1_000 * 8);
    const again = new Life(store, life.nowMs).restore().held(0);
    expect([...life.held(0)].filter((name) => !again.has(name))).toEqual([]);
    const bytes = [...store.rows.values()].reduce<number>(
      (sum, row) => sum + (row as Uint8Array).byteLength,
      0,
    );
    expect(life.journal.byteLength).toBe(bytes);
  });
});

describe("the journal's bounds", () => {
  it("drop the oldest rows past its bytes, and count them", () => {
    const store = new MemoryStore();
    const limits = { ...JOURNAL_LIMITS, bytesMax: 3 * CHUNK_BYTES_MAX, checkpointBytesMin: 1e9 };
    const life = new Life(store, START_MS, { ...limits, ageMaxMs: 1e9 });
    for (let name = 1; name <= 20; name++) {
      life.learn(path(name, 2_000), 0);
      life.write();
      expect(life.journal.byteLength).toBeLessThanOrEqual(limits.bytesMax);
    }
    expect(life.journal.counts.droppedRows).toBeGreaterThan(0);
    const again = new Life(store, life.nowMs).restore();
    expect(again.tree.insert(path(20, 2_000), 0)).toBe(2_000);
    expect(again.tree.insert(path(1, 2_000), 0)).toBe(0);
  });

  it("leave out what is learned while too much waits, and count it", () => {
    const store = new MemoryStore();
    const life = new Life(store, START_MS, { ...JOURNAL_LIMITS, waitingMax: 2 });
    for (let name = 1; name <= 20; name++) life.learn(path(name, 2_000), 0);
    expect(life.journal.counts.leftOutBlocks).toBeGreaterThan(0);
    life.write();
    const again = new Life(store, life.nowMs).restore();
    expect(again.held(0).size + life.journal.counts.leftOutBlocks).toBe(40_000);
    life.learn(path(21, 5), 0);
    life.write();
    expect(new Life(store, life.nowMs).restore().tree.insert(path(21, 5), 0)).toBe(5);
  });

  it("do not believe rows past their age", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    life.learn(path(1, 5), 0);
    life.write();
    const later = new Life(store, life.nowMs + JOURNAL_LIMITS.ageMaxMs - 2_000).restore();
    expect(later.held(0).size).toBe(5);
    const tooLate = new Life(store, life.nowMs + JOURNAL_LIMITS.ageMaxMs + 2_000).restore();
    expect([tooLate.held(0).size, tooLate.journal.counts.droppedRows]).toEqual([0, 1]);
    expect(store.rows.size).toBe(0);
  });

  it("write once a second at most", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    life.learn(path(1, 5), 0);
    life.journal.write();
    const { writtenBytes } = life.journal.counts;
    expect(writtenBytes).toBeGreaterThan(0);
    life.learn(path(2, 5), 0);
    life.nowMs += JOURNAL_LIMITS.writeIntervalMs - 1;
    life.journal.write();
    expect(life.journal.counts.writtenBytes).toBe(writtenBytes);
    life.nowMs += 1;
    life.journal.write();
    expect(life.journal.counts.writtenBytes).toBeGreaterThan(writtenBytes);
  });
});

describe("rows that cannot be used", () => {
  it("are skipped and counted, and the others are read", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    for (let name = 1; name <= 12; name++) life.learn(path(name, 2_000), 0);
    life.write();
    const [first, second] = [...store.rows.keys()];
    (store.rows.get(first!) as Uint8Array)[5_000]! ^= 1;
    store.rows.set(100, "not bytes");
    const again = new Life(store, life.nowMs).restore();
    expect(again.journal.counts.corruptRows).toBe(2);
    expect(again.held(0).size).toBeGreaterThan(12_000);
    expect(again.held(0).size).toBeLessThan(24_000);
    expect([store.rows.has(first!), store.rows.has(second!), store.rows.has(100)]).toEqual([
      false,
      true,
      false,
    ]);
    again.learn(path(50, 5), 1);
    again.write();
    expect(new Life(store, again.nowMs).restore().held(1).size).toBe(5);
  });

  it("are those of an endpoint that is gone, has moved, or is not the one of that number", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    for (let slot = 0; slot < SLOTS; slot++) life.learn(path(slot + 1, 5), slot);
    life.write();
    const again = new Life(store, life.nowMs);
    again.restore();
    expect(again.allHeld().map((held) => held.size)).toEqual([5, 5, 5, 5]);
    again.tree.removeEndpoint(2);
    again.journal.endpointRemoved(2);
    // The same endpoint comes back at once: another life of it, which holds nothing.
    again.learn(path(9, 2), 2);
    again.write();
    const last = new Life(store, again.nowMs).restore();
    expect(last.allHeld().map((held) => held.size)).toEqual([5, 5, 2, 5]);
    const elsewhere = new EndpointTable();
    elsewhere.add({ ...endpoint(0), address: "10.9.9.9:8000" });
    elsewhere.add(endpoint(1));
    const tree = new PrefixTree({ slotsMax: SLOTS });
    const prefix = new ApproximatePrefix(tree, SLOTS);
    const journal = new PrefixJournal({
      store,
      prefix,
      table: elsewhere,
      clock: () => again.nowMs,
    });
    while (!journal.isRestored) journal.restoreRow();
    expect([tree.heldBlocks(0), tree.heldBlocks(1), tree.heldCount]).toEqual([0, 5, 5]);
  });

  it("are all of them when nobody knows whose they are", () => {
    const store = new MemoryStore();
    const life = new Life(store);
    life.learn(path(1, 5), 0);
    life.write();
    store.endpoints = { next: "one" };
    const again = new Life(store, life.nowMs).restore();
    expect([again.tree.heldCount, store.rows.size]).toEqual([0, 0]);
    expect(again.journal.counts).toMatchObject({ corruptRows: 1, droppedRows: 1 });
  });
});

describe("the journal in an object's storage", () => {
  afterEach(() => reset());

  it("is read back in order, and its rows go when they are deleted", async () => {
    await runInDurableObject(poolStub(), async (_, { storage }) => {
      const store = new JournalStorage(storage);
      const life = new Life(store);
      for (let name = 1; name <= 60; name++) life.learn(path(name, 2_000), name % SLOTS);
      life.write();
      expect([...storage.kv.list({ prefix: "prefix-journal/row/" })].length).toBeGreaterThan(10);
      const again = new Life(new JournalStorage(storage), life.nowMs).restore();
      expect(again.journal.counts.corruptRows).toBe(0);
      expect(again.allHeld()).toEqual(life.allHeld());
      await storage.sync();
      again.nowMs += JOURNAL_LIMITS.ageMaxMs * 2;
      again.learn(path(100, 1), 0);
      again.write();
      const last = new Life(new JournalStorage(storage), again.nowMs).restore();
      expect(last.allHeld()).toEqual(again.allHeld());
    });
  });
});
