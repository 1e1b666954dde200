// A pool's object without storage and without sockets: the real picks and the real shards. Mirrors src/durable/pool.ts.

import { buildConfig } from "../../src/durable/built-config.ts";
import type { PickRequest, PoolObjectConfig, WorkerEnd } from "../../src/durable/contract.ts";
import { Endpoints } from "../../src/durable/endpoints.ts";
import { ResidentKnowledge } from "../../src/durable/kv/resident-knowledge.ts";
import { Picks } from "../../src/durable/picks.ts";
import type { JournalStore } from "../../src/durable/prefix/journal.ts";
import { PrefixMemory } from "../../src/durable/prefix/memory.ts";
import { WaitingPick } from "../../src/durable/queue/waiting-pick.ts";
import type { LeadPort, ShardAnswer, ShardTold } from "../../src/durable/shards/contract.ts";
import { PoolShards, type PoolShardsOptions } from "../../src/durable/shards/pool-shards.ts";
import { loadSchedulerConfig } from "../../src/scheduler/config/load.ts";
import type { ShardMap } from "../../src/scheduler/shards/contracts.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";
import { type Batch, type BatchAnswer, Batches, type LocalAnswer } from "./batch.ts";

/** Between two readings of an engine; the default. */
export const SCRAPE_MS = 200;
/** Leases and the journal are looked at as often as Upkeep does. */
const TICK_MS = 500;

export interface ModelObjectOptions {
  readonly index: number;
  readonly count: number;
  readonly endpoints: number;
  readonly seed: number;
  readonly lead: LeadPort;
  /** What a lead has found out before; else it begins without splits. */
  readonly map: ShardMap | undefined;
}

export class ModelObject {
  readonly #endpoints: Endpoints;
  readonly #prefixes: PrefixMemory;
  readonly #shards: PoolShards;
  readonly #picks: Picks;
  readonly #batches = new Batches((request) => this.#pick(request));
  #holders = 0;

  constructor(options: ModelObjectOptions) {
    const clock = Date.now;
    const registry = new MetricRegistry();
    const epoch = `object-${options.index}`;
    const endpoints = new Endpoints({ clock, onRemoved: nothing, onRestarted: nothing });
    const { table } = endpoints;
    const prefixes = new PrefixMemory({ store: NO_STORE, table, clock });
    const shards = new PoolShards({
      env: { POOLS: options.lead },
      storage: storageWith(options.map),
      clock,
      epoch,
      registry,
      endpoints,
      queue: () => this.#picks.admission.queue,
      tickets: () => this.#picks.tickets,
      mapChanged: nothing,
    });
    this.#endpoints = endpoints;
    this.#prefixes = prefixes;
    this.#shards = shards;
    this.#picks = new Picks({
      epoch,
      clock,
      seed: randomSeed(options),
      endpoints,
      prefixes,
      resident: this.#createResident(),
      registry,
      shards,
      onSettled: nothing,
      isSettled: () => false,
      evict: nothing,
      tickNeeded: nothing,
      queueEnded: nothing,
      queueAskedAgain: nothing,
      queueRefused: nothing,
    });
    this.#configure(options);
    this.#tickLater();
  }

  /** A collector has read an engine, which runs so many requests. */
  sampled(endpoint: number, running: number, sampledAtMs: number): void {
    const sample = { waiting: 0, running, kvUsage: 0 };
    this.#endpoints.scraped(addressOf(endpoint), { outcome: "ok", sampledAtMs, sample });
  }

  drive(batch: Batch): Promise<BatchAnswer> {
    return this.#batches.take(batch);
  }

  told(told: ShardTold): ShardAnswer | undefined {
    return this.#shards.told(told);
  }

  #pick(request: PickRequest): LocalAnswer {
    const holder = ++this.#holders;
    const answer = this.#picks.pick(request, holder);
    if (answer instanceof WaitingPick) return { ok: "queued" };
    if (answer.ok === false || answer.ok === "moved" || answer.ok === "queued") return answer;
    if (!("ticket" in answer)) return { ok: false, reason: "no grant" };
    const { ends } = this.#picks;
    const handle = {
      settle: (end: WorkerEnd) => ends.settle(answer.ticket, end, holder),
      [Symbol.dispose]: () => ends.abandon(answer.ticket, holder),
    };
    const { map } = this.#shards;
    const isTold = map !== undefined && request.edge !== undefined;
    return { ...answer, ...(isTold ? { edge: { shards: map } } : {}), handle };
  }

  #createResident(): ResidentKnowledge {
    return new ResidentKnowledge({
      table: this.#endpoints.table,
      clock: Date.now,
      firstStream: 1,
      approximate: (keys, matchedBlocks) => this.#prefixes.tree.match(keys, matchedBlocks),
      tell: nothing,
      defer: (callback) => void setTimeout(callback, 0),
      silentAfterMs: () => this.#picks.decider.staleAfterMs,
    });
  }

  #configure({ index, count, endpoints }: ModelObjectOptions): void {
    const { config: scheduler } = loadSchedulerConfig({}, { allowExperimentalPlugins: true });
    const shard = count === 1 ? {} : { shard: { index, count } };
    const inCommon = { name: "model", scrapeIntervalMs: SCRAPE_MS, scheduler: scheduler! };
    const config: PoolObjectConfig = { ...inCommon, ...shard };
    const built = buildConfig({ version: 1, config }, nothing);
    const records = Array.from({ length: endpoints }, (_, i) => endpointOf(i));
    this.#endpoints.membership.claim("collector", records);
    this.#endpoints.configure(built.compiled);
    this.#picks.configure(built);
    this.#shards.configure(config);
  }

  #tickLater(): void {
    setTimeout(() => {
      this.#picks.ends.sweep();
      this.#prefixes.journal.write();
      this.#tickLater();
    }, TICK_MS);
  }
}

/** As the driver has it in its reports. */
export function addressOf(endpoint: number): string {
  return `127.0.0.${endpoint + 1}:8000`;
}

function endpointOf(number: number) {
  const address = addressOf(number);
  return { id: `bench/engine-${number}`, address, labels: {}, engine: "vllm" } as const;
}

function randomSeed({ index, seed }: ModelObjectOptions): () => number {
  const rng = createRng(31 * seed + index);
  return () => Math.floor(rng() * 0x1_0000_0000);
}

function nothing(): void {}

const NO_STORE: JournalStore = {
  journalRow: () => undefined,
  putJournal: nothing,
  deleteJournal: nothing,
  journalEndpoints: () => undefined,
  putJournalEndpoints: nothing,
};

/** Of a lead that has stored that map. */
function storageWith(map: ShardMap | undefined): PoolShardsOptions["storage"] {
  const storage = { kv: { get: () => map }, put: async () => undefined };
  return storage as unknown as PoolShardsOptions["storage"];
}
