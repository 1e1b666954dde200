// The objectives and rewrites that a pool's cluster has, as the pool's object knows them.
//
//   a collector tells ──► checked, stored ──► bands of the queue
//                                        └──► the directory, and by it all isolates
//
// Collectors of a pool follow the same cluster, and tell only what they know to be so: the last word
// counts. What they told stays when they are gone, as endpoints do not: nobody is sent to an objective.
//
// Nothing here sets a timer. What the directory has not taken is told again when a collector speaks, which
// it does for as long as there is anything to tell.

import type { ResourcesPayload } from "../../agents/protocol/resources.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { PoolResources, ResourcesReported } from "../directory/contract.ts";
import type { PoolState } from "../state.ts";
import { type Checked, checkResources, NOTHING } from "./check-resources.ts";
import { ResourcesStorage } from "./resources-storage.ts";

/** Between two pushes, so that a cluster which changes all the time costs everybody one a second. */
export const PUSH_INTERVAL_MS = 1_000;
/** After a push that failed, doubled with each of them. */
export const PUSH_RETRY_MS_MAX = 60_000;
const PUSH_DEADLINE_MS = 5_000;

/** The directory, wherever it is. */
export interface ResourcesPort {
  /** May throw: of another release, there is no such method. */
  reportResources(resources: PoolResources): Promise<ResourcesReported & Partial<Disposable>>;
}

interface ClusterResourcesOptions {
  readonly storage: DurableObjectStorage;
  /** Undefined where there is nobody to tell. */
  readonly control: ResourcesPort | undefined;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
  /** The pool's name; undefined while it is not configured. */
  readonly pool: () => string | undefined;
  /** What holds has changed. */
  readonly onChanged: () => void;
}

export class ClusterResources {
  readonly #options: ClusterResourcesOptions;
  readonly #stored: ResourcesStorage;
  #checked: Checked = NOTHING;
  /** Rises with every change, in all lives of the object; 0: nothing was told yet. */
  #version: number;
  /** What the directory has. */
  #pushedVersion = 0;
  #isUnderWay = false;
  #pausedUntilMs = -Infinity;
  #failures = 0;

  constructor(options: ClusterResourcesOptions) {
    this.#options = options;
    this.#stored = new ResourcesStorage(options.storage);
    const { version, told } = this.#stored.read();
    this.#version = version;
    this.#checked = checkResources(told, NOTHING);
    options.registry.onRender(() => this.#show());
  }

  /** Of objectives, once each. */
  get priorities(): readonly number[] {
    return [...new Set(this.#checked.resources.objectives.map(({ priority }) => priority))];
  }

  /** Empty before anything was told. */
  get state(): Pick<PoolState, "clusterResources"> {
    if (this.#version === 0) return {};
    const { resources, mistaken } = this.#checked;
    const objectives = resources.objectives.map(({ name }) => name);
    const rewrites = resources.rewrites.map(({ name }) => name);
    return { clusterResources: { objectives, rewrites, mistaken } };
  }

  /** A collector's word. */
  told(payload: ResourcesPayload): void {
    const before = JSON.stringify(this.#checked.resources);
    this.#checked = checkResources(payload, this.#checked);
    const isFirst = this.#version === 0;
    if (isFirst || JSON.stringify(this.#checked.resources) !== before) {
      this.#version = Math.max(this.#version + 1, this.#options.clock());
      this.#stored.write(this.#version, this.#checked.resources);
      this.#options.onChanged();
    }
    this.push();
  }

  /** The pool has another configuration: the directory may have forgotten what it was told. */
  configured(): void {
    this.#pushedVersion = 0;
    this.push();
  }

  /** The pool is gone. */
  forget(): void {
    this.#checked = NOTHING;
    this.#version = 0;
    this.#stored.clear();
  }

  /** Tells the directory what it does not have, unless it was told just now. O(1) if there is nothing. */
  push(): void {
    const { control, clock, pool } = this.#options;
    const name = pool();
    const isKnown = this.#version === 0 || this.#version === this.#pushedVersion;
    if (control === undefined || name === undefined || isKnown || this.#isUnderWay) return;
    if (clock() < this.#pausedUntilMs) return;
    this.#isUnderWay = true;
    void this.#push(control, { pool: name, version: this.#version, ...this.#checked.resources });
  }

  async #push(control: ResourcesPort, resources: PoolResources): Promise<void> {
    const { clock, registry } = this.#options;
    let outcome: "ok" | "unknown-pool" | "failed" = "failed";
    try {
      const reported = await withDeadline(control.reportResources(resources));
      outcome = reported.isKnown ? "ok" : "unknown-pool";
      // An answer that is not disposed keeps the object in memory.
      reported[Symbol.dispose]?.();
    } catch {
      // The directory is away, or of a release before: it is told again, more and more seldom.
    }
    registry.inc(METRIC.clusterResourcesReportsTotal, { outcome });
    this.#isUnderWay = false;
    if (outcome === "ok") this.#pushedVersion = resources.version;
    this.#failures = outcome === "ok" ? 0 : this.#failures + 1;
    const waitMs = Math.min(
      PUSH_RETRY_MS_MAX,
      PUSH_INTERVAL_MS * 2 ** Math.min(10, this.#failures),
    );
    this.#pausedUntilMs = clock() + (outcome === "ok" ? PUSH_INTERVAL_MS : waitMs);
  }

  #show(): void {
    const { registry } = this.#options;
    const { resources, mistaken } = this.#checked;
    const pool = this.#options.pool() ?? "";
    for (const kind of ["objectives", "rewrites"] as const) {
      registry.set(METRIC.clusterResources, { pool, kind }, resources[kind].length);
      const labels = { pool, kind, why: "mistaken" };
      registry.set(METRIC.clusterResourcesIgnored, labels, mistaken[kind].length);
    }
  }
}

async function withDeadline<Value>(call: Promise<Value>): Promise<Value> {
  const { promise: deadline, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("deadline")), PUSH_DEADLINE_MS);
  return Promise.race([call, deadline]).finally(() => clearTimeout(timer));
}
