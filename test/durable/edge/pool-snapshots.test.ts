import { describe, expect, it } from "vitest";
import {
  DIGEST_LEASE_MS,
  type EdgeFacts,
  FACTS_INTERVAL_MS,
  PoolSnapshots,
} from "../../../src/durable/edge/pool-snapshots.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { contentKeys } from "../pool-client.ts";

const FACTS: EdgeFacts = {
  configVersion: 1,
  staleAfterMs: 2_000,
  saturation: 0.5,
  waiting: 0,
  isHeld: false,
};

class Pool {
  nowMs = 1_000_000;
  facts: EdgeFacts | undefined = FACTS;
  factsMade = 0;
  summariesMade = 0;
  readonly table = new EndpointTable();
  readonly tree = new PrefixTree();
  readonly snapshots: PoolSnapshots;
  readonly #deferred: (() => void)[] = [];

  constructor() {
    this.table.add({ id: "default/e1", address: "10.0.0.1:8000", engine: "vllm", labels: {} });
    this.snapshots = new PoolSnapshots({
      epoch: "o1",
      clock: () => this.nowMs,
      table: this.table,
      pairTables: () => [this.tree.pairs],
      isComplete: () => true,
      defer: (callback) => void this.#deferred.push(callback),
      facts: () => {
        this.factsMade += 1;
        return this.facts;
      },
      summary: () => {
        this.summariesMade += 1;
        return { pool: "eu-1", seq: this.summariesMade } as PoolSummary;
      },
    });
  }

  /** Turns pass until nothing is left to do. */
  settle(): void {
    for (let next = this.#deferred.shift(); next; next = this.#deferred.shift()) next();
  }
}

describe("PoolSnapshots", () => {
  it("says nothing of a pool that is not configured", () => {
    const pool = new Pool();
    pool.facts = undefined;
    expect(pool.snapshots.take({ epoch: "", version: 0 }, true)).toBeUndefined();
  });

  it("looks at the pool once for all who ask or tell within some ms", () => {
    const pool = new Pool();
    const known = { epoch: "", version: 0 };
    for (let n = 0; n < 100; n++) pool.snapshots.take(known, n % 2 === 0);
    expect(pool.factsMade).toBe(1);
    pool.nowMs += FACTS_INTERVAL_MS;
    pool.snapshots.take(known, true);
    expect(pool.factsMade).toBe(2);
  });

  it("says how a pool is that was configured a moment ago", () => {
    const pool = new Pool();
    pool.facts = undefined;
    pool.snapshots.take({ epoch: "", version: 0 }, false);
    pool.facts = FACTS;
    expect(pool.snapshots.take({ epoch: "", version: 0 }, false)).toMatchObject(FACTS);
  });

  it("tells each isolate each summary once", () => {
    const pool = new Pool();
    const first = pool.snapshots.take({ epoch: "", version: 0 }, true)!;
    expect(first.summary).toMatchObject({ seq: 1 });
    pool.table.dispatched(0, 100, pool.nowMs);
    const second = pool.snapshots.take({ epoch: "o1", version: first.version }, true)!;
    pool.table.dispatched(0, 100, pool.nowMs);
    const third = pool.snapshots.take({ epoch: "o1", version: second.version }, true)!;
    expect(third.summary).toBeUndefined();
    pool.nowMs += 1_000;
    const fourth = pool.snapshots.take({ epoch: "o1", version: third.version }, true)!;
    expect(fourth.summary).toMatchObject({ seq: 2 });
  });

  it("lets go of a digest that nobody asks for, and lets nobody go on with it", () => {
    const pool = new Pool();
    const replica = new PoolReplica({ seed: 1 });
    const renew = () => {
      const snapshot = pool.snapshots.take(replica.known, true)!;
      const at = { nowMs: pool.nowMs, asOfMs: pool.nowMs, shown: 0 };
      expect(replica.apply(snapshot, at)).toMatchObject({ ok: true });
    };
    renew();
    pool.settle();
    renew();
    expect(replica.known.digest).not.toBe("");
    pool.nowMs += DIGEST_LEASE_MS;
    pool.snapshots.sweep();
    // Nobody listens: the digest that the isolate has does not know of this.
    pool.tree.insert(contentKeys(1), 0);
    renew();
    expect(replica.known.digest).toBe("");
    pool.settle();
    renew();
    expect(replica.known.digest).not.toBe("");
  });
});
