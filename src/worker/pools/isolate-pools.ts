// The choice among pools as one isolate makes it: its table, its chooser, and what feeds them.
//
//   configuration   when a request comes with a newer one than any before
//   knownPools      before each choice, if anything new was heard
//   breakers, RTT   asked during the choice

import { readableScheduler } from "../../config/scheduling.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { PoolChoice, PoolChoiceRequest } from "../../scheduler/pools/contracts.ts";
import { PoolChooser } from "../../scheduler/pools/pool-chooser.ts";
import { type PoolState, stateOf } from "../../scheduler/pools/pool-state.ts";
import { PoolTable } from "../../scheduler/pools/pool-table.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { DirectoryIndex } from "../directory-index.ts";
import { metrics } from "../metrics.ts";
import { describePool } from "./describe-pools.ts";
import type { KnownPools } from "./known-pools.ts";
import type { RttMeter } from "./rtt-meter.ts";

/** Where the isolate's knowledge comes from. */
export interface PoolSources {
  readonly known: Pick<KnownPools, "applyTo">;
  readonly breakers: Pick<Breakers, "state" | "saidWell" | "isOverloaded">;
  readonly rtts: Pick<RttMeter, "rttMs">;
}

/** Of the directory, what the choice depends on. */
export type PoolDirectory = Pick<DirectoryIndex, "serial" | "routing" | "pools">;

export class IsolatePools {
  readonly #sources: PoolSources;
  #directory: PoolDirectory | undefined;
  #table: PoolTable | undefined;
  #chooser: PoolChooser | undefined;
  /** What the chooser was made for. */
  #scheduler: string | undefined;
  /** Of `known`: 0 to be told all. */
  #revision = 0;
  #toldRevision = 0;

  constructor(sources: PoolSources) {
    this.#sources = sources;
  }

  /** Orders `pools`, by their names. `seed` decides every draw. */
  choose(
    directory: PoolDirectory,
    request: PoolChoiceRequest,
    pools: readonly string[],
    at: { readonly nowMs: number; readonly seed: number },
  ): PoolChoice {
    const chooser = this.#chooserFor(directory);
    const { known } = this.#sources;
    this.#toldRevision = known.applyTo(this.#table!, this.#revision, this.#toldRevision);
    this.#revision = this.#toldRevision;
    return chooser.choose(request, pools, at.nowMs, at.seed);
  }

  /** Headers of clients that the choice reads, in lower case. */
  requestHeaders(directory: PoolDirectory): readonly string[] {
    return this.#chooserFor(directory).requestHeaders;
  }

  /** A request was sent to a pool: until a summary shows it, it counts here. */
  dispatched(pool: string, uncachedTokens: number, nowMs: number): void {
    this.#table?.dispatched(pool, uncachedTokens, nowMs);
  }

  /** Every pool that a choice has known, as it stood when it last came into question. */
  states(): { readonly pool: string; readonly state: PoolState }[] {
    const table = this.#table;
    if (table === undefined) return [];
    return (this.#directory?.pools ?? []).flatMap(({ config: { name } }) => {
      const slot = table.slotOf(name);
      return slot === undefined ? [] : [{ pool: name, state: stateOf(table.pools, slot) }];
    });
  }

  #chooserFor(directory: PoolDirectory): PoolChooser {
    // For a request that has begun under an older one, too: what was learned since is not to be forgotten.
    const isNew = directory.serial > (this.#directory?.serial ?? 0);
    if (!isNew && this.#chooser !== undefined) return this.#chooser;
    const { routing, pools } = directory;
    this.#directory = directory;
    const table = (this.#table ??= new PoolTable(routing));
    const described = pools.map(({ config }) => describePool(config, routing));
    const removed = table.set(described, routing);
    // Pools that are new to the table are told from the beginning.
    this.#revision = 0;
    const scheduler = JSON.stringify(routing.scheduler);
    if (this.#chooser === undefined || scheduler !== this.#scheduler) {
      // Only then: the scorers of a new one have forgotten what they learned.
      this.#scheduler = scheduler;
      this.#chooser = this.#createChooser(table, schedulerOf(routing));
    } else this.#chooser.onPoolsRemoved(removed);
    return this.#chooser;
  }

  #createChooser(table: PoolTable, config: SchedulerConfig | undefined): PoolChooser {
    const { breakers, rtts } = this.#sources;
    const local = {
      breaker: (pool: string, nowMs: number) => breakers.state(pool, nowMs),
      saidWell: (pool: string, nowMs: number) => breakers.saidWell(pool, nowMs),
      isOverloaded: (pool: string, nowMs: number) => breakers.isOverloaded(pool, nowMs),
      rttMs: (pool: string, nowMs: number) => rtts.rttMs(pool, nowMs),
    };
    return new PoolChooser({ table, local, ...(config === undefined ? {} : { config }) });
  }
}

/** Undefined: by cost. So, too, where a directory of another release holds what this one cannot read. */
function schedulerOf({ scheduler }: PoolDirectory["routing"]): SchedulerConfig | undefined {
  if (scheduler === undefined || Object.keys(scheduler).length === 0) return undefined;
  const config = readableScheduler(scheduler);
  if (config === undefined) metrics.inc(METRIC.configFallbacksTotal, {});
  return config;
}
