// What pools have said of themselves, in memory: a directory that is reset has it again within a second.
//
// Thousands of isolates read it each second, so a summary is written as JSON once, when it comes. A
// read is told what is newer than its revision, with ages as of that moment: whoever passes a summary on
// adds the time that it spent there, and no two clocks are compared.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import { SummaryOrder } from "../../scheduler/pools/summary-order.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import { DIGESTS_WANTED_MAX, type PoolDigest } from "./contract.ts";
import type { PoolReported, PoolsKnown, PoolsRead } from "./contract.ts";
import { KeptDigests } from "./kept-digests.ts";
import { ShardSummaries } from "./shard-summaries.ts";

/** One summary as JSON. One that is longer is kept without its names of models and adapters. */
export const SUMMARY_CHARS_MAX = 32 * 1024;
/** Summaries that a directory takes in a second, of all pools' objects: with more of them each waits longer. */
export const REPORTS_PER_SECOND_MAX = 500;

interface Reported {
  readonly order: SummaryOrder;
  /** Of a pool of several objects. */
  readonly shards: ShardSummaries | undefined;
  readonly json: string;
  /** By the directory's clock. */
  readonly arrivedAtMs: number;
  readonly revision: number;
}

export interface ReportedPoolsOptions {
  /** Random at each construction of the directory's object. */
  readonly epoch: string;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
}

export class ReportedPools {
  readonly #options: ReportedPoolsOptions;
  readonly #digests: KeptDigests;
  #names: ReadonlySet<string> = new Set();
  /** Configured pools only: at most poolsMax. */
  readonly #pools = new Map<string, Reported>();
  #revision = 0;
  /** Pools that have become ones of several objects. */
  #mergedCount = 0;

  constructor(options: ReportedPoolsOptions) {
    this.#options = options;
    this.#digests = new KeptDigests(options.clock);
    options.registry.onRender(() => this.#show());
  }

  /** What is known of other pools is forgotten. Agents and objects add none. */
  configure(pools: readonly string[]): void {
    const before = this.#names;
    this.#names = new Set(pools.slice(0, DEPLOYMENT_LIMITS.poolsMax));
    for (const pool of before) {
      if (this.#names.has(pool)) continue;
      this.#pools.delete(pool);
      this.#digests.forget(pool);
    }
  }

  /** A pool's word. What is older than what is known changes nothing. */
  report(summary: PoolSummary, digest?: PoolDigest): PoolReported {
    const { pool } = summary;
    if (!this.#names.has(pool)) {
      this.#count("unknown");
      return { wantsDigest: false, usesDigest: false, isKnown: false };
    }
    if (digest?.pool === pool) this.#digests.put(digest, summary.shard);
    const isNewer = this.#take(summary, this.#pools.get(pool));
    this.#count(isNewer ? "accepted" : "older");
    return {
      wantsDigest: this.#digests.wants(pool, summary.digestVersion, summary.shard),
      usesDigest: this.#digests.isUsed(pool),
      isKnown: true,
      pauseMs: Math.ceil((this.#objectCount() * 1_000) / REPORTS_PER_SECOND_MAX),
    };
  }

  #take(summary: PoolSummary, known: Reported | undefined): boolean {
    const { pool, shard, configVersion } = summary;
    const arrivedAtMs = this.#options.clock();
    const order = known?.order ?? new SummaryOrder();
    let shards = known?.shards;
    if (shard === undefined) {
      // From before the pool had several objects, and late.
      if (configVersion < (shards?.configVersion ?? 0)) return false;
      if (!order.take(summary, arrivedAtMs)) return false;
      shards = undefined;
    } else {
      shards ??= new ShardSummaries(`${this.#options.epoch}:${++this.#mergedCount}`);
      if (!shards.take(summary, arrivedAtMs)) return false;
    }
    const said = shards?.merged(arrivedAtMs, this.#digests.versionOf(pool)) ?? summary;
    const json = written(said);
    this.#pools.set(pool, { order, shards, json, arrivedAtMs, revision: ++this.#revision });
    return true;
  }

  /** Of all pools, as far as they have said how many they have. */
  #objectCount(): number {
    let count = this.#names.size;
    for (const { shards } of this.#pools.values()) count += (shards?.count ?? 1) - 1;
    return count;
  }

  /** What is newer than what the caller knows; all of it where that is of another epoch. */
  read(known: PoolsKnown): Omit<PoolsRead, "drained"> {
    const { epoch, clock, registry } = this.#options;
    const nowMs = clock();
    const since = known.epoch === epoch ? known.revision : 0;
    const summaries: { json: string; ageMs: number }[] = [];
    for (const { json, arrivedAtMs, revision } of this.#pools.values())
      if (revision > since) summaries.push({ json, ageMs: Math.max(0, nowMs - arrivedAtMs) });
    registry.inc(METRIC.directorySummariesReadTotal, {}, summaries.length);
    const wanted = known.digests.slice(0, DIGESTS_WANTED_MAX);
    const digests = this.#digests.read(wanted.filter(({ pool }) => this.#names.has(pool)));
    for (const { bytes } of digests)
      registry.inc(METRIC.directoryDigestReadBytesTotal, {}, bytes.byteLength);
    return { epoch, revision: this.#revision, summaries, digests };
  }

  #count(outcome: "accepted" | "older" | "unknown"): void {
    this.#options.registry.inc(METRIC.directoryReportsTotal, { outcome });
  }

  #show(): void {
    const { clock, registry } = this.#options;
    registry.set(METRIC.directoryDigestBytes, {}, this.#digests.bytes);
    registry.reset(METRIC.poolSummaryAgeSeconds);
    for (const [pool, { arrivedAtMs }] of this.#pools)
      registry.set(METRIC.poolSummaryAgeSeconds, { pool }, (clock() - arrivedAtMs) / 1_000);
  }
}

/** Load is worth more than names: without them, its models are those of the configuration. */
function written(summary: PoolSummary): string {
  const json = JSON.stringify(summary);
  if (json.length <= SUMMARY_CHARS_MAX || summary.membership === undefined) return json;
  return JSON.stringify({
    ...summary,
    membership: { ...summary.membership, models: [], adapters: [] },
  });
}
