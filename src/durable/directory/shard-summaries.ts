// The summaries of one pool's objects, where it has several: each comes by itself, and what isolates are
// told is one of all of them. So nobody has to gather them first, and none is missed more than another.

import { mergeSummaries } from "../../scheduler/pools/merge-summaries.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import { SummaryOrder } from "../../scheduler/pools/summary-order.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";

interface Part {
  readonly order: SummaryOrder;
  summary: PoolSummary;
  arrivedAtMs: number;
}

export class ShardSummaries {
  /** Of the merged summaries: what a single object of the pool says is of another. */
  readonly #incarnation: string;
  /** By shard: at most SHARDS_MAX. */
  readonly #parts = new Map<number, Part>();
  #count = 1;
  #configVersion = -Infinity;
  #seq = 0;

  constructor(incarnation: string) {
    this.#incarnation = incarnation;
  }

  get count(): number {
    return this.#count;
  }

  /** The version of the configuration that the count is of. */
  get configVersion(): number {
    return this.#configVersion;
  }

  /** One object's word. False: it is older than what is known, or of an object that does not count. */
  take(summary: PoolSummary, nowMs: number): boolean {
    const { shard, configVersion } = summary;
    if (shard === undefined || shard.count > SHARDS_MAX) return false;
    const isLate = configVersion < this.#configVersion && shard.count !== this.#count;
    if (isLate || shard.index >= shard.count) return false;
    const known = this.#parts.get(shard.index);
    const order = known?.order ?? new SummaryOrder();
    if (!order.take(summary, nowMs)) return false;
    this.#configVersion = Math.max(this.#configVersion, configVersion);
    this.#setCount(shard.count);
    this.#parts.set(shard.index, { order, summary, arrivedAtMs: nowMs });
    return true;
  }

  /** As of now. Something has been taken before. */
  merged(nowMs: number, digestVersion: string | undefined): PoolSummary {
    const parts = [...this.#parts.values()].map(({ summary, arrivedAtMs }) => ({
      summary,
      heldMs: Math.max(0, nowMs - arrivedAtMs),
    }));
    return mergeSummaries(parts, {
      incarnation: this.#incarnation,
      seq: ++this.#seq,
      count: this.#count,
      ...(digestVersion === undefined ? {} : { digestVersion }),
    });
  }

  #setCount(count: number): void {
    this.#count = count;
    for (const index of this.#parts.keys()) if (index >= count) this.#parts.delete(index);
  }
}
