// The only way to the deployment's configuration and switches. As with Pools, the Worker calls this
// entrypoint and never the objects, so that they can live in another process.

import { WorkerEntrypoint } from "cloudflare:workers";
import type { Deployment } from "../config/deployment.ts";
import { SETTINGS_OBJECT_NAME, type Settings, type SettingsPatch } from "../config/settings.ts";
import type { PoolSummary } from "../scheduler/pools/summary.ts";
import type {
  DirectoryPut,
  DirectoryRead,
  DirectoryVersion,
  PoolDigest,
  PoolDrained,
  PoolReported,
  PoolResources,
  PoolsKnown,
  ResourcesReported,
} from "./directory/contract.ts";
import type { DirectoryObject } from "./directory.ts";
import type { SettingsObject, SettingsUpdate } from "./settings.ts";

/** Name of the one DirectoryObject. */
const DIRECTORY_OBJECT_NAME = "directory";

interface ControlEnv {
  readonly DIRECTORY: DurableObjectNamespace<DirectoryObject>;
  readonly SETTINGS: DurableObjectNamespace<SettingsObject>;
}

/** See DirectoryObject and SettingsObject, which answer. */
export class Control extends WorkerEntrypoint<ControlEnv> {
  /** Named entrypoints can be fetched, too. There is nothing here to fetch. */
  override fetch(): Response {
    return new Response("no such thing\n", { status: 404 });
  }

  /**
   * The configuration in force, secrets included, unless the caller knows it. With `known`, also what
   * pools have said of themselves that the caller does not know.
   */
  async readConfig(knownVersion: number, known?: PoolsKnown): Promise<DirectoryRead> {
    return this.#directory().read(knownVersion, known);
  }

  /** A pool's object says how the pool is, and with a digest, what its caches hold. */
  async reportPool(summary: PoolSummary, digest?: PoolDigest): Promise<PoolReported> {
    return this.#directory().report(summary, digest);
  }

  /** A pool's object says which objectives and rewrites its cluster has. */
  async reportResources(resources: PoolResources): Promise<ResourcesReported> {
    return this.#directory().reportResources(resources);
  }

  async putConfig(deployment: Deployment, expectedVersion?: number): Promise<DirectoryPut> {
    return this.#directory().put(deployment, expectedVersion);
  }

  /** Prometheus text of the directory's object. */
  async directoryMetrics(): Promise<string> {
    return this.#directory().metrics();
  }

  /**
   * Whether a pool has an object of this number: one that counts, or that has not ended what it has. To ask
   * another for anything would create it.
   */
  async hasShard(pool: string, shard: number): Promise<boolean> {
    return this.#directory().hasShard(pool, shard);
  }

  /** An operator's word: the pool gets no new requests, or gets them again. */
  async drainPool(pool: string, isDrained: boolean): Promise<PoolDrained> {
    return this.#directory().setDrained(pool, isDrained);
  }

  async configVersions(): Promise<DirectoryVersion[]> {
    return this.#directory().versions();
  }

  /** A stored version without its secrets; null if it is not stored. */
  async configVersion(version: number): Promise<Deployment | null> {
    return this.#directory().get(version);
  }

  async settings(): Promise<Settings> {
    return this.#settings().get();
  }

  async updateSettings(patch: SettingsPatch): Promise<SettingsUpdate> {
    return this.#settings().update(patch);
  }

  /** A fresh stub: one that has failed once stays broken. */
  #directory(): DurableObjectStub<DirectoryObject> {
    return this.env.DIRECTORY.getByName(DIRECTORY_OBJECT_NAME);
  }

  #settings(): DurableObjectStub<SettingsObject> {
    return this.env.SETTINGS.getByName(SETTINGS_OBJECT_NAME);
  }
}
