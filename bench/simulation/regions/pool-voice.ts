// What a pool's object says of its pool: the shipped summary and digest, told when they are due.
//
// Mirrors src/durable/summary/summary-reporter.ts, without calls that fail. Health is told at once.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { saturationDetectorOf } from "../../../src/scheduler/flow-control/of-config.ts";
import { SaturationMeter } from "../../../src/scheduler/flow-control/saturation.ts";
import { CacheDigest } from "../../../src/scheduler/kv/digest/cache-digest.ts";
import { Plugins } from "../../../src/scheduler/plugins.ts";
import type { PoolSummary } from "../../../src/scheduler/pools/summary.ts";
import { DigestMaker } from "../../../src/durable/summary/digest-maker.ts";
import { EndRate } from "../../../src/durable/summary/end-rate.ts";
import { summarize } from "../../../src/durable/summary/pool-summary.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Pool } from "../pool.ts";

export interface PoolVoiceOptions {
  readonly name: string;
  readonly pool: Pool;
  /** Random at each construction in earnest. */
  readonly incarnation: string;
  readonly digestBytesMax: number;
  readonly queue: EventQueue;
}

/** What is told at once. A summary without digest leaves the one before as it is. */
export interface Told {
  readonly summary: PoolSummary;
  readonly digest: CacheDigest | undefined;
}

export class PoolVoice {
  readonly #options: PoolVoiceOptions;
  readonly #meter: SaturationMeter;
  readonly #digests: DigestMaker;
  readonly #endRate = new EndRate();
  #tell: (told: Told) => void = () => {};
  #digest: CacheDigest | undefined;
  #seq = 0;
  isUp = true;

  constructor(options: PoolVoiceOptions) {
    this.#options = options;
    const { pool, queue, incarnation, digestBytesMax } = options;
    const config = schedulerConfigSchema.parse(undefined);
    this.#meter = new SaturationMeter(saturationDetectorOf(config, new Plugins(config)));
    this.#digests = new DigestMaker({
      tables: () => [pool.tree.keys],
      isComplete: () => true,
      clock: () => queue.nowMs,
      defer: (callback) => queue.add(queue.nowMs, callback),
      incarnation,
      bytesMax: digestBytesMax,
      onPublished: () => this.#published(),
    });
  }

  /** `tell` is called every `summaryIntervalMs` from `fromMs` on, and with each new digest. */
  begin(
    tell: (told: Told) => void,
    at: {
      readonly fromMs: number;
      readonly summaryIntervalMs: number;
      readonly digestIntervalMs: number;
    },
  ): void {
    const { queue } = this.#options;
    this.#tell = tell;
    const repeat = (everyMs: number, event: () => void): void => {
      if (everyMs === Infinity) return;
      const run = (): void => {
        event();
        queue.add(queue.nowMs + everyMs, run);
      };
      queue.add(at.fromMs, run);
    };
    repeat(at.digestIntervalMs, () => this.#digests.renew());
    repeat(at.summaryIntervalMs, () => this.say());
  }

  /** Tells now how the pool is. */
  say(): void {
    this.#tell({ summary: this.#summary(), digest: this.#digest });
  }

  ended(nowMs: number): void {
    this.#endRate.ended(nowMs);
  }

  #published(): void {
    this.#digest = CacheDigest.decode(this.#digests.published!.bytes);
    this.say();
  }

  #summary(): PoolSummary {
    const { name, pool, incarnation, queue } = this.#options;
    const { nowMs } = queue;
    const { table, staleAfterMs } = pool;
    const view = { endpoints: table.columns, pool: table, nowMs, staleAfterMs };
    const { saturation } = this.#meter.measure(view);
    const summary = summarize({
      pool: name,
      incarnation,
      seq: ++this.#seq,
      configVersion: 1,
      nowMs,
      staleAfterMs,
      table,
      agents: 1,
      toldAtMs: nowMs,
      names: { models: [], adapters: [] },
      outlook: { saturation, waiting: 0, isHeld: false, ahead: 0, waitMs: undefined },
      endedPerSecond: this.#endRate.perSecond(nowMs),
      digestVersion: this.#digests.published?.version,
    });
    if (this.isUp) return summary;
    return { ...summary, membership: { ...summary.membership!, usable: 0 } };
  }
}
