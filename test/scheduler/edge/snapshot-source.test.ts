// What the object tells isolates, and how little it keeps for that.

import { describe, expect, it } from "vitest";
import { EDGE_ENDPOINTS_MAX, type EdgeSnapshot } from "../../../src/scheduler/edge/contracts.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import { unpackRows } from "../../../src/scheduler/edge/rows.ts";
import { SCAN_INTERVAL_MS } from "../../../src/scheduler/edge/snapshot-source.ts";
import { FACTS, PoolObject } from "./pool-object.ts";

const NONE = { epoch: "", version: 0 };
const PROMPT = { promptTokens: 1_000, uncachedTokens: 500 };

function slotsIn({ rows, names = [] }: EdgeSnapshot): number[] | undefined {
  return unpackRows({ rows, names })?.map(({ slot }) => slot);
}

describe("SnapshotSource", () => {
  it("looks at the pool anew for who has just told something, else not at every request", () => {
    const pool = new PoolObject(2);
    const { version, epoch } = pool.source.take(NONE, FACTS, true);
    pool.table.dispatched(1, 10, pool.nowMs, PROMPT);
    pool.nowMs += SCAN_INTERVAL_MS - 1;
    expect(pool.source.take({ epoch, version }, FACTS, false).version).toBe(version);
    expect(pool.source.take({ epoch, version }, FACTS, true).version).toBe(version + 1);
    pool.table.dispatched(1, 10, pool.nowMs, PROMPT);
    pool.nowMs += SCAN_INTERVAL_MS;
    expect(pool.source.take({ epoch, version }, FACTS, false).version).toBe(version + 2);
  });

  it("tells of an endpoint that has taken another's slot at once", () => {
    const pool = new PoolObject(2);
    const { version, epoch } = pool.source.take(NONE, FACTS, true);
    pool.remove(1);
    pool.add(9);
    const { endpoints } = pool.source.take({ epoch, version }, FACTS, false);
    expect(endpoints).toMatchObject([{ slot: 1, id: "default/e9" }]);
  });

  it("tells everything to who has another object's snapshot, or one of the future", () => {
    const pool = new PoolObject(3);
    const { version, epoch } = pool.source.take(NONE, FACTS, true);
    for (const known of [
      { epoch: "other", version },
      { epoch, version: version + 1 },
    ]) {
      const snapshot = pool.source.take(known, FACTS, true);
      expect(snapshot.base).toBeNull();
      expect(snapshot.endpoints).toHaveLength(3);
    }
  });

  it("gives each isolate another sample of a large pool, and the same one again", () => {
    const pool = new PoolObject(EDGE_ENDPOINTS_MAX + 100);
    const slotsOf = (seed: number) => {
      const { endpoints, leftOut } = pool.source.take({ ...NONE, seed }, FACTS, true);
      expect(leftOut).toBe(100);
      expect(endpoints).toHaveLength(EDGE_ENDPOINTS_MAX);
      return endpoints.map(({ slot }) => slot);
    };
    expect(slotsOf(1)).toEqual(slotsOf(1));
    // Also after more of them than are remembered.
    const first = slotsOf(1);
    for (let seed = 2; seed < 300; seed++) slotsOf(seed);
    expect(slotsOf(1)).toEqual(first);
    const shared = slotsOf(1).filter((slot) => slotsOf(2).includes(slot));
    expect(shared.length).toBeLessThan(EDGE_ENDPOINTS_MAX - 30);
    // Of all isolates together every endpoint is somewhere.
    const all = new Set(Array.from({ length: 12 }, (_, seed) => slotsOf(seed + 1)).flat());
    expect(all.size).toBe(EDGE_ENDPOINTS_MAX + 100);
  });

  it("tells a sample what has changed in it, and all of it when endpoints come or leave", () => {
    const pool = new PoolObject(EDGE_ENDPOINTS_MAX + 10);
    const first = pool.source.take({ ...NONE, seed: 4 }, FACTS, true);
    const known = { epoch: first.epoch, version: first.version, seed: 4 };
    pool.table.dispatched(first.endpoints[0]!.slot, 10, pool.nowMs, PROMPT);
    expect(pool.source.take(known, FACTS, true)).toMatchObject({
      base: first.version,
      endpoints: [],
    });
    pool.remove(first.endpoints[7]!.slot);
    expect(pool.source.take(known, FACTS, true).base).toBeNull();
  });

  it("tells all of a pool that is no sample any more to who has a sample of it", () => {
    const pool = new PoolObject(EDGE_ENDPOINTS_MAX + 44);
    const replica = new PoolReplica({ seed: 7 });
    const renew = () => {
      const at = { asOfMs: pool.nowMs, nowMs: pool.nowMs, shown: 0 };
      const snapshot = pool.source.take(replica.known, FACTS, false);
      expect(replica.apply(snapshot, at)).toMatchObject({ ok: true });
      return snapshot;
    };
    renew();
    for (let slot = 0; slot < 50; slot++) pool.remove(slot);
    expect(renew()).toMatchObject({ base: null, leftOut: 0 });
    const { isPresent, slotCount } = replica.columns;
    expect(isPresent.slice(0, slotCount).filter((is) => is === 1)).toHaveLength(pool.table.size);
    // Who has the whole pool is told of what has changed, and once more so.
    expect(renew().base).not.toBeNull();
    pool.remove(60);
    expect(renew()).toMatchObject({ removed: [60], leftOut: 0 });
  });

  it("looks only at what requests have changed for who tells of requests", () => {
    const pool = new PoolObject(3);
    const { version, epoch } = pool.source.take(NONE, FACTS, true);
    pool.nowMs += 1;
    pool.sample(0, { waiting: 7 });
    pool.table.dispatched(1, 10, pool.nowMs, PROMPT);
    const told = pool.source.take({ epoch, version }, FACTS, true);
    expect(slotsIn(told)).toEqual([1]);
    // Nothing has changed since: nothing is told again.
    const again = pool.source.take({ epoch, version: told.version }, FACTS, true);
    expect(again).toMatchObject({ version: told.version, base: told.version });
    pool.nowMs += SCAN_INTERVAL_MS;
    const later = pool.source.take({ epoch, version: told.version }, FACTS, false);
    expect(slotsIn(later)).toEqual([0]);
  });

  it("tells what is sent to the pool in the mean, once it is known", () => {
    const pool = new PoolObject(2);
    expect(pool.source.take(NONE, FACTS, true).rate).toBeUndefined();
    for (let n = 0; n < 40; n++) pool.table.dispatched(n % 2, 700, pool.nowMs, PROMPT);
    pool.nowMs += 2_000;
    expect(pool.source.take(NONE, FACTS, true).rate).toEqual({
      requestsPerS: 20,
      ...PROMPT,
      kvTokens: 700,
      aheadTokens: 500,
    });
    pool.nowMs += 2_000;
    expect(pool.source.take(NONE, FACTS, true).rate).toEqual({
      requestsPerS: 10,
      ...PROMPT,
      kvTokens: 700,
      aheadTokens: 500,
    });
  });

  it("says nothing of a digest to who wants none", () => {
    const pool = new PoolObject(2);
    pool.source.take({ ...NONE, digest: "" }, FACTS, true);
    pool.settle();
    expect(pool.source.take({ ...NONE, digest: "" }, FACTS, true).digest).toBeDefined();
    expect(pool.source.take(NONE, FACTS, true).digest).toBeUndefined();
  });
});
