// A replica beside the pool that it is a copy of: whatever is lost, late or doubled on the way.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SNAPSHOT_RENEW_MS } from "../../../src/scheduler/edge/consult-rule.ts";
import type { EdgeSnapshot } from "../../../src/scheduler/edge/contracts.ts";
import { OWN_DISPATCH_COUNTS_MS } from "../../../src/scheduler/edge/own-dispatches.ts";
import { SCAN_INTERVAL_MS } from "../../../src/scheduler/edge/snapshot-source.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import { COLUMN_NAMES } from "../../../src/scheduler/decisions/record.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import type { EndpointColumns } from "../../../src/scheduler/model/endpoint-columns.ts";
import type { EndpointDirectory } from "../../../src/scheduler/plugin.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { inferenceRequest } from "../support/pick-context.ts";
import { profileConfig } from "../support/profile-config.ts";
import { FACTS, pathOf, PoolObject } from "./pool-object.ts";

const PROMPT = { promptTokens: 1_000, uncachedTokens: 600 };

/** All that a decision can read, by slot. */
function readable(columns: EndpointColumns, directory: EndpointDirectory) {
  const slots = Array.from({ length: columns.slotCount }, (_, slot) => slot);
  return slots
    .filter((slot) => columns.isPresent[slot] === 1)
    .map((slot) => ({
      slot,
      endpoint: directory.endpoint(slot),
      columns: COLUMN_NAMES.map((name) => columns[name][slot]),
      adapters: ["base", "sql", "chat"].map((name) => columns.adapters.stateOf(slot, name)),
      counts: [columns.adapters.activeCount(slot), columns.adapters.waitingCount(slot)],
      scalars: ["gpu", "power"].map((key) => columns.scalar(key)?.[slot]),
    }));
}

class Edge {
  readonly replica: PoolReplica;
  readonly #pool: PoolObject;

  constructor(pool: PoolObject, seed = 1) {
    this.#pool = pool;
    this.replica = new PoolReplica({ seed });
  }

  /** With all that has changed up to now. */
  ask(isCurrent = true): EdgeSnapshot {
    if (isCurrent) this.#pool.nowMs += SCAN_INTERVAL_MS;
    return this.#pool.source.take(this.replica.known, FACTS, isCurrent);
  }

  hear(snapshot: EdgeSnapshot, shown = 0, asOfMs = this.#pool.nowMs) {
    return this.replica.apply(snapshot, { asOfMs, nowMs: this.#pool.nowMs, shown });
  }

  /** Asks until it is up to date. */
  catchUp(): void {
    for (let tries = 0; tries < 2; tries++) if (this.hear(this.ask()).ok) return;
    throw new Error("a whole snapshot was refused");
  }

  readable() {
    return readable(this.replica.columns, this.replica.directory);
  }
}

const slot = fc.nat(11);
const change = fc.oneof(
  fc.record({ op: fc.constant("add" as const), n: slot, version: fc.nat(1) }),
  fc.record({ op: fc.constant("remove" as const), slot }),
  fc.record({ op: fc.constant("sample" as const), slot, waiting: fc.nat(5), running: fc.nat(9) }),
  fc.record({ op: fc.constant("dispatch" as const), slot, tokens: fc.nat(5_000) }),
  fc.record({ op: fc.constant("eject" as const), slot, forMs: fc.nat(2_000) }),
  fc.record({ op: fc.constant("came" as const), slot }),
  fc.record({
    op: fc.constant("adapters" as const),
    slot,
    names: fc.subarray(["sql", "chat", "x"]),
  }),
  fc.record({
    op: fc.constant("scalars" as const),
    slot,
    gpu: fc.double({ noNaN: true, min: 0, max: 1 }),
  }),
  fc.record({ op: fc.constant("keys" as const), keys: fc.subarray(["gpu", "power"]) }),
  fc.record({
    op: fc.constant("observe" as const),
    slot,
    ttftMs: fc.integer({ min: 50, max: 900 }),
  }),
  fc.record({ op: fc.constant("unsampled" as const), slot }),
);
/** How an answer goes: it is kept back and may come any time later, or never, or twice. */
const travel = fc.record({
  op: fc.constant("ask" as const),
  isCurrent: fc.boolean(),
  fate: fc.constantFrom("heard", "lost", "twice", "later"),
});
const lateAnswer = fc.record({ op: fc.constant("late" as const), which: fc.nat(7) });
const step = fc.oneof(
  { weight: 4, arbitrary: change },
  { weight: 2, arbitrary: travel },
  { weight: 1, arbitrary: lateAnswer },
);
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never;

function apply(pool: PoolObject, given: Change): void {
  const { table, nowMs } = pool;
  if (given.op === "add") return void pool.add(given.n, { version: String(given.version) });
  if (given.op === "keys") return table.defineScalars(given.keys);
  if (table.endpoint(given.slot) === undefined) return;
  if (given.op === "remove") pool.remove(given.slot);
  else if (given.op === "sample") pool.sample(given.slot, given);
  else if (given.op === "dispatch") table.dispatched(given.slot, given.tokens, nowMs, PROMPT);
  else if (given.op === "eject") table.eject(given.slot, nowMs + given.forMs);
  else if (given.op === "came") table.came(given.slot, nowMs);
  else if (given.op === "unsampled") table.goUnsampled(given.slot);
  else if (given.op === "adapters")
    table.applyAdapters(given.slot, { active: given.names, waiting: ["base"], maxActive: 4 });
  else if (given.op === "scalars")
    table.applySample(given.slot, { scalars: new Map([["gpu", given.gpu]]) }, nowMs);
  else {
    const { ttftMs } = given;
    table.completed(given.slot, { ttftMs, decodeMs: 900, workTokens: 2_000, isHeld: false });
  }
}

describe("PoolReplica", () => {
  it("equals the pool after any losses, doubles and delays, as soon as one answer comes through", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
        const pool = new PoolObject(4);
        const edge = new Edge(pool);
        const kept: { snapshot: EdgeSnapshot; sentAtMs: number }[] = [];
        for (const each of steps) {
          pool.nowMs += 7;
          if (each.op === "late") {
            const late = kept[each.which];
            if (late !== undefined) edge.hear(late.snapshot, 0, late.sentAtMs);
          } else if (each.op === "ask") {
            const snapshot = edge.ask(each.isCurrent);
            if (each.fate === "later") kept.push({ snapshot, sentAtMs: pool.nowMs });
            if (each.fate === "heard" || each.fate === "twice") edge.hear(snapshot);
            if (each.fate === "twice") edge.hear(snapshot);
          } else apply(pool, each);
        }
        edge.catchUp();
        expect(edge.readable()).toEqual(readable(pool.table.columns, pool.table));
        const whole = new Edge(pool, 2);
        whole.catchUp();
        expect(edge.readable()).toEqual(whole.readable());
      }),
      { numRuns: 300 },
    );
  });

  it("sends what has changed, and nothing else", () => {
    const pool = new PoolObject(64);
    pool.sampleAll();
    const edge = new Edge(pool);
    expect(edge.ask().endpoints).toHaveLength(64);
    edge.catchUp();
    const { version } = edge.replica.known;
    expect(edge.ask()).toMatchObject({ version, base: version, endpoints: [], removed: [] });
    pool.table.dispatched(5, 100, pool.nowMs, PROMPT);
    const delta = edge.ask();
    expect(delta.version).toBeGreaterThan(version);
    expect(delta.rows.length).toBeLessThan(200);
  });

  it("refuses what does not fit, and then asks for a whole one", () => {
    const pool = new PoolObject(3);
    const [edge, other] = [new Edge(pool), new Edge(pool)];
    other.catchUp();
    pool.nowMs += 100;
    pool.sampleAll();
    const delta = other.ask();
    expect(edge.hear(delta)).toEqual({ ok: false, reason: "other-epoch" });
    edge.catchUp();
    expect(edge.hear({ ...delta, version: 1 })).toEqual({ ok: false, reason: "older" });
    expect(edge.ask().base).not.toBeNull();
    expect(edge.hear({ ...delta, base: 99, version: 99 })).toEqual({
      ok: false,
      reason: "wrong-base",
    });
    expect(edge.ask().base).toBeNull();
    expect(edge.hear({ ...edge.ask(), rows: new Uint8Array(3) })).toEqual({
      ok: false,
      reason: "malformed",
    });
  });

  it("begins anew with another object of the same pool", () => {
    const pool = new PoolObject(3);
    const edge = new Edge(pool);
    edge.catchUp();
    const next = new PoolObject(2, "epoch-2");
    const snapshot = next.source.take(edge.replica.known, FACTS, true);
    expect(snapshot.base).toBeNull();
    expect(edge.hear(snapshot)).toEqual({ ok: true, left: [2] });
    expect(edge.readable()).toEqual(readable(next.table.columns, next.table));
  });

  it("says whose slots are others now", () => {
    const pool = new PoolObject(3);
    const edge = new Edge(pool);
    edge.catchUp();
    pool.remove(1);
    pool.add(7);
    expect(edge.hear(edge.ask())).toEqual({ ok: true, left: [1] });
    expect(edge.replica.slotOfAddress("10.0.0.7:8000")).toBe(1);
    expect(edge.replica.slotOfAddress("10.0.0.1:8000")).toBeUndefined();
  });

  it("follows addresses that two endpoints exchange", () => {
    const pool = new PoolObject(3);
    const edge = new Edge(pool);
    edge.catchUp();
    const [one, two] = [pool.table.endpoint(1)!, pool.table.endpoint(2)!];
    pool.table.remove(1);
    pool.table.add({ ...two, address: one.address });
    pool.table.add({ ...one, address: two.address });
    edge.catchUp();
    expect(edge.readable()).toEqual(readable(pool.table.columns, pool.table));
    expect(edge.replica.slotOfAddress(one.address)).toBe(pool.table.slotOfAddress(one.address));
    expect(edge.replica.slotOfAddress(two.address)).toBe(pool.table.slotOfAddress(two.address));
  });

  it("picks as the object would, with the same seed", () => {
    const config = profileConfig();
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 60 }),
        fc.nat(),
        fc.nat(9),
        (changes, seed, root) => {
          const pool = new PoolObject(8);
          pool.sampleAll();
          for (const each of changes) {
            pool.nowMs += 3;
            apply(pool, each);
          }
          for (let n = 0; n < 10; n++) pool.tree.insert(pathOf(n, 30, n, 12), n % 8);
          const edge = new Edge(pool);
          edge.catchUp();
          pool.settle();
          edge.catchUp();
          const request = inferenceRequest({
            keys: pathOf(root, 30, root, 12),
            promptTokens: 2_000,
          });
          const at = { nowMs: pool.nowMs, seed };
          const local = new EndpointPicker(config).pick(edge.replica.pickInput(request, at));
          const objects = new EndpointPicker(config).pick({
            request,
            endpoints: pool.table.columns,
            pool: pool.table,
            prefixSources: { approximate: (keys, matched) => pool.tree.match(keys, matched) },
            ...at,
            staleAfterMs: FACTS.staleAfterMs,
          });
          const choice = (picked: typeof local) =>
            picked.ok && [...picked.slots, picked.matchedBlocks];
          expect(choice(local)).toEqual(choice(objects));
        },
      ),
      { numRuns: 150 },
    );
  });

  it("counts what it sends as the object does, and until a snapshot shows it", () => {
    const pool = new PoolObject(3);
    pool.sampleAll();
    const edge = new Edge(pool);
    edge.catchUp();
    const { replica } = edge;
    const first = replica.dispatched(1, 700, pool.nowMs, PROMPT);
    const before = edge.readable();
    // The object does not know of it yet.
    pool.sample(0, { waiting: 3 });
    edge.hear(edge.ask());
    expect(edge.readable()[1]).toEqual(before[1]);
    // Now it does, but another one was sent meanwhile.
    pool.table.dispatched(1, 700, pool.nowMs, PROMPT);
    const second = replica.dispatched(1, 50, pool.nowMs, PROMPT);
    edge.hear(edge.ask(), first);
    pool.table.dispatched(1, 50, pool.nowMs, PROMPT);
    expect(edge.readable()).toEqual(readable(pool.table.columns, pool.table));
    edge.hear(edge.ask(), second);
    expect(edge.readable()).toEqual(readable(pool.table.columns, pool.table));
  });

  it("takes back what has ended before a snapshot showed it", () => {
    const pool = new PoolObject(2);
    pool.sampleAll();
    const edge = new Edge(pool);
    edge.catchUp();
    const number = edge.replica.dispatched(1, 700, pool.nowMs, PROMPT);
    expect(edge.replica.columns.inFlightRequests[1]).toBe(1);
    edge.replica.released(number);
    edge.replica.released(number);
    expect(edge.replica.columns.inFlightRequests[1]).toBe(0);
    expect(edge.replica.columns.queueDepth[1]).toBe(0);
  });

  it("has nothing left of what it proposed once that is answered, whatever snapshots came meanwhile", () => {
    for (const isSeen of [false, true]) {
      const pool = new PoolObject(2);
      pool.sampleAll();
      const edge = new Edge(pool);
      edge.catchUp();
      const { replica } = edge;
      const others = new Edge(pool);
      others.catchUp();
      for (const each of [edge, others]) each.replica.dispatched(1, 300, pool.nowMs, PROMPT);
      const number = replica.proposed(1, 700, pool.nowMs, PROMPT);
      if (isSeen) edge.hear(edge.ask());
      expect(edge.readable()).not.toEqual(others.readable());
      for (let said = 0; said < 2; said++) replica.answered(number);
      expect(edge.readable()).toEqual(others.readable());
    }
  });

  it("does not count for ever what the object was never told", () => {
    const pool = new PoolObject(2);
    const edge = new Edge(pool);
    edge.catchUp();
    edge.replica.dispatched(1, 700, pool.nowMs, PROMPT);
    pool.nowMs += OWN_DISPATCH_COUNTS_MS + 1;
    edge.hear(edge.ask());
    expect(edge.replica.columns.inFlightRequests[1]).toBe(0);
  });

  it("grows old, and says when it is to be renewed", () => {
    const pool = new PoolObject(2);
    const edge = new Edge(pool);
    expect(edge.replica.facts(pool.nowMs)).toBeUndefined();
    expect(edge.replica.isToBeRenewed(pool.nowMs)).toBe(true);
    edge.catchUp();
    expect(edge.replica.facts(pool.nowMs + 40)).toMatchObject({ ageMs: 40, saturation: 0.25 });
    expect(edge.replica.isToBeRenewed(pool.nowMs + SNAPSHOT_RENEW_MS - 1)).toBe(false);
    expect(edge.replica.isToBeRenewed(pool.nowMs + SNAPSHOT_RENEW_MS)).toBe(true);
  });

  it("knows no pool that it was told to forget", () => {
    const pool = new PoolObject(2);
    const edge = new Edge(pool);
    edge.catchUp();
    edge.replica.forget();
    expect(edge.readable()).toEqual([]);
    expect(edge.replica.facts(pool.nowMs)).toBeUndefined();
    edge.catchUp();
    expect(edge.readable()).toHaveLength(2);
  });

  it("leaves the endpoints out that a request has failed on", () => {
    const pool = new PoolObject(2);
    pool.sampleAll();
    const edge = new Edge(pool);
    edge.catchUp();
    const at = { nowMs: pool.nowMs, seed: 1, exclude: ["10.0.0.0:8000", "10.9.9.9:1"] };
    const input = edge.replica.pickInput(inferenceRequest(), at);
    const picked = new EndpointPicker(profileConfig()).pick(input);
    expect(picked.ok && [...picked.slots]).toEqual([1]);
  });
});

describe("what a pick may have missed", () => {
  it("is nothing where the digest knows all that caches hold", () => {
    const pool = new PoolObject(4);
    pool.sampleAll();
    pool.tree.insert(pathOf(1, 40), 2);
    const edge = new Edge(pool);
    edge.catchUp();
    pool.settle();
    edge.catchUp();
    // Endpoint 2 holds more, and the pick knew.
    const missed = edge.replica.missed({ keys: pathOf(1, 40), promptTokens: 2_560 }, 0, pool.nowMs);
    expect(missed).toMatchObject({ knownTokens: 0, possibleTokens: 0, loadMs: 0 });
    expect(edge.replica.possibleBlocks(pathOf(1, 40), pool.nowMs)).toBe(40);
  });

  it("is all of the prompt before the first digest, and where the object does not know all", () => {
    const pool = new PoolObject(4);
    pool.isComplete = false;
    const edge = new Edge(pool);
    edge.catchUp();
    const keys = pathOf(1, 40);
    expect(edge.replica.missed({ keys, promptTokens: 2_560 }, 0, pool.nowMs).possibleTokens).toBe(
      40 * 64,
    );
    pool.settle();
    edge.catchUp();
    expect(edge.replica.known.digest).not.toBe("");
    expect(edge.replica.missed({ keys, promptTokens: 2_560 }, 0, pool.nowMs).possibleTokens).toBe(
      40 * 64,
    );
  });

  it("is what an endpoint holds that is not in the sample", () => {
    const pool = new PoolObject(300);
    pool.sampleAll();
    const edge = new Edge(pool);
    edge.catchUp();
    pool.settle();
    const present = new Set(edge.readable().map((each) => each.slot));
    expect(present.size).toBe(256);
    const outside = [...pool.table.slots()].find((each) => !present.has(each))!;
    pool.tree.insert(pathOf(1, 40), outside);
    edge.catchUp();
    expect(edge.replica.snapshot!.leftOut).toBe(44);
    const missed = edge.replica.missed({ keys: pathOf(1, 40), promptTokens: 2_560 }, 0, pool.nowMs);
    expect(missed.possibleTokens - missed.knownTokens).toBe(40 * 64);
    expect(edge.replica.possibleBlocks(pathOf(1, 40), pool.nowMs)).toBe(40);
  });

  it("is never less than any endpoint holds at the snapshot's moment", () => {
    const insert = fc.record({
      root: fc.nat(5),
      leaf: fc.nat(20),
      blocks: fc.integer({ min: 1, max: 60 }),
      slot,
    });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(insert, fc.constant("heard" as const)), { maxLength: 60 }),
        (steps) => {
          const pool = new PoolObject(12, "e", 1_024);
          const edge = new Edge(pool);
          for (const each of steps) {
            pool.nowMs += 300;
            if (each === "heard") edge.catchUp();
            else pool.tree.insert(pathOf(each.root, each.blocks, each.leaf, 10), each.slot);
            if (each === "heard") pool.settle();
          }
          edge.catchUp();
          const held = new Int32Array(1024);
          for (let root = 0; root < 6; root++) {
            for (let leaf = 0; leaf < 21; leaf += 5) {
              const keys = pathOf(root, 60, leaf, 10);
              pool.tree.match(keys, held);
              const possible = edge.replica.possibleBlocks(keys, pool.nowMs);
              expect(possible).toBeGreaterThanOrEqual(Math.max(...held));
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("knows what the isolate itself has sent, before the object tells", () => {
    const pool = new PoolObject(4);
    const edge = new Edge(pool);
    edge.catchUp();
    pool.settle();
    edge.catchUp();
    const keys = pathOf(3, 20);
    edge.replica.learn(keys, 2, pool.nowMs);
    expect(edge.replica.knownBlocks(keys, 2, pool.nowMs)).toBe(20);
    expect(edge.replica.knownBlocks(keys, 1, pool.nowMs)).toBe(0);
  });
});

describe("replicas with the same snapshot", () => {
  it("do not all fill the endpoint that was idle in it", () => {
    const pool = new PoolObject(8);
    pool.sampleAll();
    const isolates = Array.from({ length: 20 }, (_, n) => new Edge(pool, n + 1));
    // A rate of 200 requests of 100 ms in a second, as read twice.
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 104; n++)
        pool.table.dispatched(n % 8, 1_000, pool.nowMs, {
          promptTokens: 1_000,
          uncachedTokens: 1_000,
        });
      pool.nowMs += 500;
      isolates[0]!.ask();
    }
    pool.nowMs += 400;
    for (let slot = 0; slot < 8; slot++) pool.sample(slot, { waiting: slot === 7 ? 0 : 10 });
    for (const each of isolates) each.catchUp();
    const picker = new EndpointPicker(profileConfig({ scorers: [{ type: "queue-scorer" }] }));
    const counts = Array.from({ length: 8 }, () => 0);
    const rng = createRng(5);
    for (let n = 0; n < 100; n++) {
      pool.nowMs += 5;
      const { replica } = isolates[n % isolates.length]!;
      const request = inferenceRequest({ promptTokens: 1_000 });
      const at = { nowMs: pool.nowMs, seed: Math.floor(rng() * 2 ** 32) };
      const picked = replica.pick(picker, request, at);
      if (!picked.ok) throw new Error(picked.detail);
      counts[picked.slots[0]!]! += 1;
      replica.dispatched(picked.slots[0]!, 1_000, pool.nowMs, {
        promptTokens: 1_000,
        uncachedTokens: 1_000,
      });
    }
    expect(counts[7]).toBeLessThan(35);
    expect(Math.min(...counts)).toBeGreaterThan(2);
  });
});
