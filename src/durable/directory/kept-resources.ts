// What pools' clusters say of objectives and rewrites. Unlike summaries it is stored: pools tell it when it
// changes, which may be months ago, and a directory that is reset must not change priorities.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { PoolResources, PoolsKnown, PoolsRead, ResourcesReported } from "./contract.ts";
import type { DirectoryStorage } from "../directory-storage.ts";

/** Of one pool, as JSON; an agent's frame has less. */
export const RESOURCES_CHARS_MAX = 64 * 1024;
/** In one read, but for the first: what is left out comes with the next one. */
export const RESOURCES_READ_CHARS_MAX = 1024 * 1024;

interface Kept {
  readonly version: number;
  readonly json: string;
  readonly revision: number;
}

export interface KeptResourcesOptions {
  readonly stored: DirectoryStorage;
  readonly registry: MetricRegistry;
}

export class KeptResources {
  readonly #options: KeptResourcesOptions;
  /** Configured pools only, the one that was told longest ago first. */
  readonly #pools = new Map<string, Kept>();
  #names: ReadonlySet<string> = new Set();
  #revision = 0;

  constructor(options: KeptResourcesOptions) {
    this.#options = options;
    for (const { pool, version, json } of options.stored.resources())
      this.#pools.set(pool, { version, json, revision: ++this.#revision });
  }

  /** What is known of other pools is forgotten. */
  configure(pools: readonly string[]): void {
    this.#names = new Set(pools);
    for (const pool of this.#pools.keys()) {
      if (this.#names.has(pool)) continue;
      this.#pools.delete(pool);
      this.#options.stored.deleteResources(pool);
    }
  }

  /** A pool's word. What is not newer than what is known changes nothing. */
  report(resources: PoolResources): ResourcesReported {
    const { pool, version } = resources;
    if (!this.#names.has(pool)) return this.#answer("unknown", false);
    if (version <= (this.#pools.get(pool)?.version ?? 0)) return this.#answer("older", true);
    const json = JSON.stringify(resources);
    if (json.length > RESOURCES_CHARS_MAX) return this.#answer("too-large", true);
    this.#options.stored.setResources({ pool, version, json });
    // Last again: a read goes on where the one before stopped.
    this.#pools.delete(pool);
    this.#pools.set(pool, { version, json, revision: ++this.#revision });
    return this.#answer("accepted", true);
  }

  /** What is newer than what the caller knows of this epoch; undefined for one that does not ask. */
  read(known: PoolsKnown, epoch: string): PoolsRead["resources"] {
    if (known.resources === undefined) return undefined;
    let revision = known.epoch === epoch ? known.resources : 0;
    let chars = 0;
    const pools: { json: string }[] = [];
    for (const kept of this.#pools.values()) {
      if (kept.revision <= revision) continue;
      chars += kept.json.length;
      if (pools.length > 0 && chars > RESOURCES_READ_CHARS_MAX) break;
      pools.push({ json: kept.json });
      revision = kept.revision;
    }
    return { revision, pools };
  }

  #answer(
    outcome: "accepted" | "older" | "too-large" | "unknown",
    isKnown: boolean,
  ): ResourcesReported {
    this.#options.registry.inc(METRIC.directoryResourcesTotal, { outcome });
    return { isKnown };
  }
}
