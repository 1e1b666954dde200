// DirectoryObject: the deployment's configuration and its versions, and how its pools are. One per
// deployment.
//
// Every isolate reads it about once a second, so `read` answers from memory, and "unchanged" where it can.
// What it stores is complete: kept secrets are filled in and keys are hashed before anything is written.

import { DurableObject } from "cloudflare:workers";
import {
  type ConfigIssue,
  type Deployment,
  DEPLOYMENT_LIMITS,
  parseDeployment,
} from "../config/deployment.ts";
import { type PoolAddress, poolNameOf, shardIndexOf } from "../config/pool-address.ts";
import { hashKeys, redactDeployment, resolveKeptSecrets } from "../config/secrets.ts";
import type { PoolSummary } from "../scheduler/pools/summary.ts";
import { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
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
import { KeptResources } from "./directory/kept-resources.ts";
import { drainNotes, jurisdictionNotes } from "./directory/pool-notes.ts";
import { PoolTeller, type PoolTellerEnv, PUSH_RETRY_MS } from "./directory/pool-teller.ts";
import { ReportedPools } from "./directory/reported-pools.ts";
import { DirectoryStorage, type StoredDeployment } from "./directory-storage.ts";
import { randomHex, sha256Hex, systemClock } from "./system.ts";

export class DirectoryObject extends DurableObject<PoolTellerEnv> {
  readonly #stored: DirectoryStorage;
  readonly #registry = new MetricRegistry();
  readonly #epoch = randomHex(8);
  readonly #reported = new ReportedPools({
    epoch: this.#epoch,
    clock: systemClock,
    registry: this.#registry,
  });
  readonly #resources: KeptResources;
  readonly #teller: PoolTeller;
  #current: StoredDeployment;
  #drained: readonly string[];

  constructor(ctx: DurableObjectState, env: PoolTellerEnv) {
    super(ctx, env);
    this.#stored = new DirectoryStorage(ctx.storage);
    this.#resources = new KeptResources({ stored: this.#stored, registry: this.#registry });
    this.#current = this.#stored.current();
    this.#drained = this.#stored.drained();
    this.#teller = new PoolTeller({
      env,
      storage: ctx.storage,
      stored: this.#stored,
      current: () => this.#current,
    });
    this.#poolsConfigured(this.#current.deployment.pools.map(({ name }) => name));
    // Objects whose own copy was of the same form have put the default in its place, too.
    if (this.#current.repaired !== undefined) {
      this.#stored.mustTell(this.#teller.addresses(this.#current.deployment));
      void ctx.blockConcurrencyWhile(() => ctx.storage.setAlarm(systemClock() + PUSH_RETRY_MS));
    }
  }

  /** The configuration in force, unless the caller's is. Version 0 is the empty one. */
  read(knownVersion: number, known?: PoolsKnown): DirectoryRead {
    this.#registry.inc(METRIC.directoryReadsTotal, {});
    const { version } = this.#current;
    const read = knownVersion === version ? ({ version, unchanged: true } as const) : this.#current;
    if (known === undefined) return read;
    const resources = this.#resources.read(known, this.#epoch);
    const pools = { ...this.#reported.read(known), drained: this.#drained };
    return { ...read, pools: resources === undefined ? pools : { ...pools, resources } };
  }

  /** Prometheus text format. */
  metrics(): string {
    return this.#registry.render();
  }

  /** What a pool's object says of the pool. */
  report(summary: PoolSummary, digest?: PoolDigest): PoolReported {
    return this.#reported.report(summary, digest);
  }

  /** What a pool's object says of its cluster's objectives and rewrites. */
  reportResources(resources: PoolResources): ResourcesReported {
    return this.#resources.report(resources);
  }

  /**
   * Puts a configuration in force and tells the pools' objects. With `expectedVersion`, only if that
   * is the version in force. Objects that cannot be told at once are told again by alarm.
   */
  async put(deployment: Deployment, expectedVersion?: number): Promise<DirectoryPut> {
    const hashed = await hashKeys(deployment, sha256Hex);
    // From here to `add` nothing is awaited, so two puts cannot both see the same version.
    const { version: before, deployment: old } = this.#current;
    if (expectedVersion !== undefined && expectedVersion !== before) {
      return refuse("conflict", [
        { path: "", message: `the version in force is ${before}, not ${expectedVersion}` },
      ]);
    }
    const resolved = resolveKeptSecrets(hashed, old);
    if (!resolved.ok) return refuse("invalid", resolved.issues);
    // Again, because two different spellings of a key can have become one hash.
    const parsed = parseDeployment(resolved.value);
    if (!parsed.ok) return refuse("invalid", parsed.issues);
    const json = JSON.stringify(parsed.value);
    const bytes = new TextEncoder().encode(json).byteLength;
    if (bytes > DEPLOYMENT_LIMITS.configBytesMax) {
      const message = `${bytes} bytes; at most ${DEPLOYMENT_LIMITS.configBytesMax} are allowed`;
      return refuse("too-large", [{ path: "", message }]);
    }
    const entry = { version: before + 1, appliedAtMs: systemClock(), bytes };
    const known = [old, parsed.value].flatMap((of) => this.#teller.addresses(of));
    const told = [...new Set([...known, ...this.#stored.leaving().map(({ address }) => address)])];
    const pools = parsed.value.pools.map(({ name }) => name);
    const leaving = this.#teller.leaving(parsed.value, told);
    this.#stored.add(entry, json, { told, leaving, pools });
    this.#current = { version: entry.version, deployment: parsed.value };
    this.#drained = this.#stored.drained();
    this.#poolsConfigured(pools);
    const pending = [...new Set((await this.#teller.tellAll()).map(poolNameOf))];
    const notes = this.#jurisdictionNotes(old, parsed.value);
    return { ok: true, version: entry.version, pending, ...(notes.length > 0 ? { notes } : {}) };
  }

  /** The stored versions, newest first. */
  versions(): DirectoryVersion[] {
    return this.#stored.versions();
  }

  /** A stored version as it may be shown; null if it is not stored (any more). */
  get(version: number): Deployment | null {
    const deployment =
      version === this.#current.version ? this.#current.deployment : this.#stored.get(version);
    return deployment === undefined ? null : redactDeployment(deployment);
  }

  /** Whether a pool has an object of this number: one that counts, or that has not ended what it has. */
  hasShard(pool: string, shard: number): boolean {
    const configured = this.#current.deployment.pools.find(({ name }) => name === pool);
    if (configured === undefined) return false;
    const isLeaving = (address: PoolAddress) =>
      poolNameOf(address) === pool && shardIndexOf(address) === shard;
    return (
      shard < configured.shards || this.#stored.leaving().some(({ address }) => isLeaving(address))
    );
  }

  /** An operator's word: the pool gets no new requests, or gets them again. */
  setDrained(pool: string, isDrained: boolean): PoolDrained {
    const { deployment } = this.#current;
    const names = deployment.pools.map(({ name }) => name);
    if (!names.includes(pool)) return { ok: false, pools: names };
    const changed = this.#drained.includes(pool) !== isDrained;
    if (changed) {
      this.#stored.setDrained(pool, isDrained);
      this.#drained = this.#stored.drained();
    }
    const notes = isDrained ? drainNotes(deployment, new Set(this.#drained), pool) : [];
    return { ok: true, pool, drained: isDrained, changed, notes };
  }

  override async alarm(): Promise<void> {
    await this.#teller.tellAll();
    await this.#teller.retireEmpty();
  }

  #poolsConfigured(names: readonly string[]): void {
    this.#reported.configure(names);
    this.#resources.configure(names);
  }

  #jurisdictionNotes(before: Deployment, after: Deployment): string[] {
    const names = (of: Deployment) =>
      of.pools.some(({ jurisdiction }) => jurisdiction !== undefined);
    if (!names(before) && !names(after)) return [];
    return jurisdictionNotes(before, after, this.#teller.keepsJurisdictions);
  }
}

function refuse(
  reason: "conflict" | "invalid" | "too-large",
  issues: readonly ConfigIssue[],
): DirectoryPut {
  return { ok: false, reason, issues };
}
