// DirectoryObject: the deployment's configuration and its versions. One per deployment.
//
// Every isolate reads it about once a second, so `read` answers "unchanged" from memory. What it
// stores is complete: kept secrets are filled in and keys are hashed before anything is written.

import { DurableObject } from "cloudflare:workers";
import { type PoolsBindings, poolsFor } from "../config/coordinators.ts";
import {
  type ConfigIssue,
  type Deployment,
  DEPLOYMENT_LIMITS,
  parseDeployment,
  type PoolConfig,
} from "../config/deployment.ts";
import { effectiveScheduler } from "../config/scheduling.ts";
import type { PoolSummary } from "../scheduler/pools/summary.ts";
import { hashKeys, redactDeployment, resolveKeptSecrets } from "../config/secrets.ts";
import type {
  DirectoryPut,
  DirectoryRead,
  DirectoryVersion,
  PoolDigest,
  PoolObjectConfig,
  PoolReported,
  PoolsKnown,
} from "./contract.ts";
import { ReportedPools } from "./directory/reported-pools.ts";
import { DirectoryStorage, type StoredDeployment } from "./directory-storage.ts";
import type { Pools } from "./pools.ts";
import { randomHex, sha256Hex, systemClock } from "./system.ts";

/** How long a pool's object may take to accept its configuration. */
const PUSH_DEADLINE_MS = 5_000;
/** Pause before telling those again that could not be told. */
const PUSH_RETRY_MS = 5_000;

/** Pools' objects can be in other processes than the directory. */
export type DirectoryEnv = PoolsBindings<Service<typeof Pools>>;

export class DirectoryObject extends DurableObject<DirectoryEnv> {
  readonly #stored: DirectoryStorage;
  readonly #reported = new ReportedPools(randomHex(8), systemClock);
  #current: StoredDeployment;

  constructor(ctx: DurableObjectState, env: DirectoryEnv) {
    super(ctx, env);
    this.#stored = new DirectoryStorage(ctx.storage);
    this.#current = this.#stored.current();
    this.#reported.configure(this.#current.deployment.pools.map(({ name }) => name));
    // Objects whose own copy was of the same form have put the default in its place, too.
    if (this.#current.repaired !== undefined) {
      this.#stored.mustTell(this.#current.deployment.pools.map((pool) => pool.name));
      void ctx.blockConcurrencyWhile(() => ctx.storage.setAlarm(systemClock() + PUSH_RETRY_MS));
    }
  }

  /** The configuration in force, unless the caller's is. Version 0 is the empty one. */
  read(knownVersion: number, known?: PoolsKnown): DirectoryRead {
    const { version } = this.#current;
    const read = knownVersion === version ? ({ version, unchanged: true } as const) : this.#current;
    if (known === undefined) return read;
    return { ...read, pools: { ...this.#reported.read(known), drained: [] } };
  }

  /** What a pool's object says of the pool. */
  report(summary: PoolSummary, digest?: PoolDigest): PoolReported {
    const { outcome: _, ...reported } = this.#reported.report(summary, digest);
    return reported;
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
    const pools = [...old.pools, ...parsed.value.pools].map((pool) => pool.name);
    this.#stored.add(entry, json, pools);
    this.#current = { version: entry.version, deployment: parsed.value };
    this.#reported.configure(parsed.value.pools.map(({ name }) => name));
    return { ok: true, version: entry.version, pending: await this.#tellPools() };
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

  override async alarm(): Promise<void> {
    await this.#tellPools();
  }

  /** Tells every pool that was not told yet; returns those that could not be. */
  async #tellPools(): Promise<string[]> {
    // Set first: if the object is reset in between, the alarm goes on with what is left.
    await this.ctx.storage.setAlarm(systemClock() + PUSH_RETRY_MS);
    const { version, deployment } = this.#current;
    const pools = this.#stored.pendingPools();
    const results = await Promise.allSettled(
      pools.map((name) => this.#tellPool(name, deployment, version)),
    );
    const left = pools.filter((_, i) => results[i]!.status === "rejected");
    // A put in between has marked its pools itself; it also tells them.
    if (version !== this.#current.version) return left;
    for (const pool of pools) if (!left.includes(pool)) this.#stored.poolWasTold(pool);
    if (left.length === 0) await this.ctx.storage.deleteAlarm();
    return left;
  }

  async #tellPool(name: string, deployment: Deployment, version: number): Promise<void> {
    const pool = deployment.pools.find((other) => other.name === name);
    const pools = poolsFor(this.env, name);
    const told =
      pool === undefined
        ? pools.retire(name, version)
        : pools.configure(
            {
              name,
              scrapeIntervalMs: pool.scrapeIntervalMs,
              scheduler: effectiveScheduler(pool.scheduler),
              ...objectivePriorities(pool),
              ...(pool.shadow === undefined
                ? {}
                : { shadowScheduler: effectiveScheduler(pool.shadow) }),
            },
            version,
            pool.locationHint,
          );
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("deadline")), PUSH_DEADLINE_MS);
    await Promise.race([told, deadline]).finally(() => clearTimeout(timer));
  }
}

function objectivePriorities({
  objectives = [],
}: PoolConfig): Pick<PoolObjectConfig, "objectivePriorities"> {
  if (objectives.length === 0) return {};
  return { objectivePriorities: [...new Set(objectives.map(({ priority }) => priority))] };
}

function refuse(
  reason: "conflict" | "invalid" | "too-large",
  issues: readonly ConfigIssue[],
): DirectoryPut {
  return { ok: false, reason, issues };
}
