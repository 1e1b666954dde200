// What a pool's object tells others of the pool: how it is, and what its caches hold.

import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import { SUMMARY_NAMES_MAX } from "../../scheduler/pools/summary.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { PoolDigest, PoolReported } from "../directory/contract.ts";
import type { Endpoints } from "../endpoints.ts";
import type { ResidentKnowledge } from "../kv/resident-knowledge.ts";
import type { PrefixMemory } from "../prefix/memory.ts";
import type { QueueOutlook } from "../queue/outlook.ts";
import type { ResourcesPort } from "../resources/pool-resources.ts";
import { DigestMaker } from "./digest-maker.ts";
import { EndRate } from "./end-rate.ts";
import { LastingLeast } from "./lasting-least.ts";
import { summarize } from "./pool-summary.ts";
import { SummaryReporter } from "./summary-reporter.ts";

/** The directory, wherever it is. */
interface ControlPort extends ResourcesPort {
  reportPool(
    summary: PoolSummary,
    digest?: PoolDigest,
  ): Promise<PoolReported & Partial<Disposable>>;
}

export interface ReportsEnv {
  /** Absent: nobody is told, and summaries go out with picks alone. */
  readonly CONTROL?: ControlPort;
}

export interface PoolReportsOptions {
  readonly env: ReportsEnv;
  /** Random at each construction of the object. */
  readonly incarnation: string;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
  readonly endpoints: Endpoints;
  readonly prefixes: PrefixMemory;
  readonly resident: ResidentKnowledge;
  /** The pool's name and the version of its configuration; undefined where nothing is to be said of it. */
  readonly configured: () => Pick<PoolSummary, "pool" | "configVersion" | "shard"> | undefined;
  readonly staleAfterMs: () => number;
  readonly outlook: () => QueueOutlook | undefined;
  readonly agentCount: () => number;
  /** Whether the object has work that keeps it in memory anyway. */
  readonly isBusy: () => boolean;
}

/** How often it is looked at how full the pool is, at most, while anything happens. */
const MEASURE_MS = 50;

export class PoolReports {
  readonly #options: PoolReportsOptions;
  readonly #digest: DigestMaker;
  /** Undefined where there is nobody to tell. */
  readonly #reporter: SummaryReporter | undefined;
  readonly #ends = new EndRate();
  readonly #saturation = new LastingLeast();
  #measuredAtMs = -Infinity;
  #seq = 0;
  #toldAtMs = -Infinity;

  constructor(options: PoolReportsOptions) {
    this.#options = options;
    this.#digest = this.#createDigest();
    this.#reporter = this.#createReporter();
    const { registry } = options;
    registry.onRender(() => {
      const bytes = this.#digest.published?.bytes.length ?? 0;
      registry.set(METRIC.poolDigestBytes, {}, bytes);
    });
  }

  /** Something has happened; perhaps it matters to others. O(1), and O(endpoints) once in MEASURE_MS. */
  noticed(): void {
    const nowMs = this.#options.clock();
    // Not only when a summary is due: then there would be too few to tell what lasts.
    if (nowMs - this.#measuredAtMs >= MEASURE_MS) this.#measure(nowMs);
    this.#reporter?.noticed();
  }

  /** Undefined for a pool that is not configured. */
  #measure(nowMs: number): QueueOutlook | undefined {
    const outlook = this.#options.outlook();
    if (outlook === undefined) return undefined;
    this.#measuredAtMs = nowMs;
    return { ...outlook, saturation: this.#saturation.of(outlook.saturation, nowMs) };
  }

  /** A collector has said something. */
  collectorHeard(): void {
    this.#toldAtMs = this.#options.clock();
  }

  /** A request has ended. */
  requestEnded(): void {
    this.#ends.ended(this.#options.clock());
  }

  /** As of now; undefined for a pool that is not configured. O(endpoints). */
  summary(): PoolSummary | undefined {
    const { incarnation, clock, endpoints, configured, staleAfterMs, agentCount } = this.#options;
    const nowMs = clock();
    const config = configured();
    const outlook = this.#measure(nowMs);
    if (config === undefined || outlook === undefined) return undefined;
    return summarize({
      ...config,
      incarnation,
      seq: ++this.#seq,
      nowMs,
      staleAfterMs: staleAfterMs(),
      table: endpoints.table,
      agents: agentCount(),
      // What the configuration names is there for as long as it does.
      toldAtMs: endpoints.hasUpstreams ? nowMs : this.#toldAtMs,
      names: endpoints.servedNames(SUMMARY_NAMES_MAX),
      outlook,
      endedPerSecond: this.#ends.perSecond(nowMs),
      digestVersion: this.#digest.published?.version,
    });
  }

  #createDigest(): DigestMaker {
    const { prefixes, resident, clock, incarnation } = this.#options;
    return new DigestMaker({
      tables: () =>
        // What is only assumed would add blocks that are known to be gone.
        resident.isAnyApproximate
          ? [prefixes.tree.keys, ...resident.keyTables]
          : resident.keyTables,
      isComplete: () => prefixes.journal.isRestored,
      clock,
      defer: (callback) => void setTimeout(callback, 0),
      incarnation,
      onPublished: () => this.noticed(),
    });
  }

  #createReporter(): SummaryReporter | undefined {
    const { env, clock, isBusy, registry, endpoints } = this.#options;
    const control = env.CONTROL;
    if (control === undefined) {
      registry.inc(METRIC.poolReportsTotal, { outcome: "unbound" });
      return undefined;
    }
    return new SummaryReporter({
      sink: { report: (summary, digest) => tell(control, summary, digest) },
      clock,
      summarize: () => this.summary(),
      digest: this.#digest,
      // Nobody else could tell of a pool of upstreams.
      isAwake: () => isBusy() || endpoints.hasUpstreams,
      pushed: (outcome) => registry.inc(METRIC.poolReportsTotal, { outcome }),
    });
  }
}

async function tell(
  control: ControlPort,
  summary: PoolSummary,
  digest: PoolDigest | undefined,
): Promise<PoolReported> {
  const reported = await control.reportPool(summary, digest);
  // An answer that is not disposed keeps the object in memory.
  reported[Symbol.dispose]?.();
  return reported;
}
