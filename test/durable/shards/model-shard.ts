// A shard of a pool that has one number for its capacity: the real PoolShards, one endpoint, and in the
// place of its queue one that lets through by the same conditions.

import type { PoolObjectConfig } from "../../../src/durable/contract.ts";
import type { Endpoints } from "../../../src/durable/endpoints.ts";
import type { PickQueue } from "../../../src/durable/queue/pick-queue.ts";
import type { LeadPort, ShardAnswer, ShardTold } from "../../../src/durable/shards/contract.ts";
import { PoolShards } from "../../../src/durable/shards/pool-shards.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";

export const ADDRESS = "10.0.0.1:8000";

export interface ModelShardOptions {
  readonly index: number;
  readonly count: number;
  /** Of the pool, in requests. */
  readonly capacity: number;
  /** What a lead has stored. */
  readonly kept?: ShardMap;
  /** The way of its messages to the lead. */
  readonly tellLead?: (told: ShardTold) => Promise<ShardAnswer | undefined>;
}

export class ModelShard {
  shards: PoolShards;
  /** Requests under way here, and waiting here. */
  own = 0;
  waiting = 0;
  readonly #options: ModelShardOptions;
  readonly #table = new EndpointTable();
  readonly #slot: number;
  readonly #registry = new MetricRegistry();
  #kept: ShardMap | undefined;
  #lives = 0;

  constructor(options: ModelShardOptions) {
    this.#options = options;
    this.#kept = options.kept;
    const names = { id: "ns/e", name: "e", namespace: "ns", address: ADDRESS };
    this.#slot = this.#table.add({ ...names, labels: {}, engine: "vllm" } as never)!;
    this.shards = this.#create();
  }

  /** Requests at the endpoint, as this shard takes it. */
  get seen(): number {
    return this.#table.columns.inFlightRequests[this.#slot]!;
  }

  /** Messages to the lead that had an answer, and those that had none. */
  told(outcome: "ok" | "failed"): number {
    const name = METRIC.shardMessagesTotal.name;
    const start = `${name}{outcome="${outcome}"} `;
    const line = this.#registry
      .render()
      .split("\n")
      .find((each) => each.startsWith(start));
    return Number(line?.slice(start.length) ?? 0);
  }

  configure(count: number): void {
    this.shards.configure(configOf(this.#options.index, count));
  }

  retire(): void {
    this.shards.configure(null);
  }

  /** It has lost what it knew of the others, and goes on serving what is under way. */
  beginAnew(): void {
    this.retire();
    this.shards = this.#create();
  }

  /** One more request comes, and goes through or waits. */
  request(): void {
    this.shards.observe(new Uint32Array(2));
    this.waiting += 1;
    this.drain();
  }

  ended(requests: number): void {
    for (let i = 0; i < requests; i++) this.#table.released(this.#slot, 1, Date.now());
    this.own -= requests;
  }

  drain(): void {
    while (this.waiting > 0) {
      if (this.seen >= this.#options.capacity || !this.shards.isThere())
        return this.shards.wanted(this.waiting);
      this.shards.spend();
      this.#table.dispatched(this.#slot, 1, Date.now());
      this.own += 1;
      this.waiting -= 1;
    }
  }

  #create(): PoolShards {
    const { index, count, tellLead } = this.#options;
    const port: LeadPort = {
      tellLead: (_address, told) => tellLead?.(told) ?? Promise.reject(new Error("no lead")),
    };
    const shards = new PoolShards({
      env: { POOLS: port },
      storage: this.#storage(),
      clock: Date.now,
      epoch: `s${index}.${++this.#lives}`,
      registry: this.#registry,
      endpoints: { table: this.#table } as Partial<Endpoints> as Endpoints,
      queue: () => this.#queue,
      tickets: () => ({ open: this.own, unsettled: 0 }),
      mapChanged: () => undefined,
    });
    shards.configure(configOf(index, count));
    return shards;
  }

  #storage(): DurableObjectStorage {
    return {
      kv: { get: () => this.#kept },
      put: async (_key: string, map: ShardMap) => void (this.#kept = map),
    } as unknown as DurableObjectStorage;
  }

  readonly #queue = ((shard: ModelShard): PickQueue => {
    let isPlanned = false;
    return {
      get waitingCount() {
        return shard.waiting;
      },
      gate: {
        poolRoom() {
          const { capacity } = shard.#options;
          return { room: Math.max(0, capacity - shard.seen), capacity };
        },
        attained: () => [],
        servedElsewhere: () => undefined,
      },
      sendAway: () => undefined,
      drainSoon() {
        if (isPlanned) return;
        isPlanned = true;
        queueMicrotask(() => {
          isPlanned = false;
          shard.drain();
        });
      },
    } as unknown as PickQueue;
  })(this);
}

function configOf(index: number, count: number): PoolObjectConfig {
  return { name: "p", shard: { index, count } } as PoolObjectConfig;
}
