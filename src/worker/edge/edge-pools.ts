// What this isolate knows of pools' objects, for the pools that requests go to.

import type { PoolAddress } from "../../config/pool-address.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Pool } from "../directory-index.ts";
import { metrics } from "../metrics.ts";
import type { PoolView } from "../upstream/pool-view.ts";
import { EdgePool } from "./edge-pool.ts";

/** Objects that are known at once; of more, the one that was not used for longest is given up. */
export const EDGE_POOLS_MAX = 64;
/** Of their replicas: 200 kB each, and where requests are decided here up to 2 MB for what endpoints hold. */
export const EDGE_BYTES_MAX = 32 * 1024 * 1024;
/** One that no request has gone to for so long is given up. */
export const EDGE_UNUSED_MS = 5 * 60_000;
/** How often that, and their bytes, are looked at. */
const SWEEP_MS = 10_000;

export class EdgePools {
  readonly #pools = new Map<PoolAddress, EdgePool>();
  #seed: number | undefined;
  #sweptAtMs = 0;

  get size(): number {
    return this.#pools.size;
  }

  /** Of all replicas, about. */
  get byteLength(): number {
    let bytes = 0;
    for (const { byteLength } of this.#pools.values()) bytes += byteLength;
    return bytes;
  }

  /** `pool` is as the request's own directory has it. */
  of(address: PoolAddress, pool: Pool, view: PoolView): EdgePool {
    const known = this.#pools.get(address);
    const nowMs = Date.now();
    if (known !== undefined) {
      known.usedAtMs = nowMs;
      known.configure(pool);
      this.#sweep(nowMs);
      return known;
    }
    this.#sweep(nowMs);
    if (this.#pools.size >= EDGE_POOLS_MAX) this.#pools.delete(this.#leastUsed());
    // Not as the module is read: there are no random numbers then.
    this.#seed ??= (Math.random() * 2 ** 32) >>> 0;
    const made = new EdgePool({ address, pool, view, seed: this.#seed });
    made.usedAtMs = nowMs;
    this.#pools.set(address, made);
    return made;
  }

  /** Undefined where no request has gone to lately. */
  at(address: PoolAddress): EdgePool | undefined {
    return this.#pools.get(address);
  }

  /** For whoever scrapes this isolate. */
  tell(nowMs: number): void {
    this.#sweep(nowMs);
    metrics.reset(METRIC.edgeReplicaAgeSeconds);
    metrics.reset(METRIC.edgeCreditRequests);
    metrics.reset(METRIC.edgeRttSeconds);
    metrics.set(METRIC.edgeReplicaBytes, {}, this.byteLength);
    for (const [pool, edge] of this.#pools) {
      const ageMs = edge.link.facts(nowMs)?.ageMs;
      const rttMs = edge.link.rttMs(nowMs);
      if (ageMs !== undefined) metrics.set(METRIC.edgeReplicaAgeSeconds, { pool }, ageMs / 1_000);
      if (rttMs !== undefined) metrics.set(METRIC.edgeRttSeconds, { pool }, rttMs / 1_000);
      metrics.set(METRIC.edgeCreditRequests, { pool }, edge.link.credit.available(nowMs));
    }
  }

  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [address, { usedAtMs }] of this.#pools)
      if (nowMs - usedAtMs >= EDGE_UNUSED_MS) this.#pools.delete(address);
    // The one in use is left, whatever it has.
    while (this.byteLength > EDGE_BYTES_MAX && this.#pools.size > 1)
      this.#pools.delete(this.#leastUsed());
  }

  #leastUsed(): PoolAddress {
    let [least] = this.#pools;
    for (const each of this.#pools) if (each[1].usedAtMs < least![1].usedAtMs) least = each;
    return least![0];
  }
}

/** This isolate's. */
export const edgePools = new EdgePools();

metrics.onRender(() => edgePools.tell(Date.now()));
