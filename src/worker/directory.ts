// The Worker's copy of the configuration. With it comes what pools say of themselves, in one call.

import type { Deployment } from "../config/deployment.ts";
import type { DirectoryRead, PoolsRead } from "../durable/directory/contract.ts";
import { METRIC } from "../telemetry/names.ts";
import { DirectoryIndex } from "./directory-index.ts";
import { metrics } from "./metrics.ts";
import { ignoredResources, knownResources } from "./pools/cluster-resources.ts";
import { knownPools } from "./pools/known-pools.ts";
import { type Reader, SharedCopy, withDeadline } from "./shared-copy.ts";

const DIRECTORY_AGES = {
  freshMs: 1_000,
  usableMs: 5_000,
  // Last known good: longer than an object's reset or a deploy, shorter than a forgotten key's harm.
  keptMs: 10 * 60_000,
  deadlineMs: 2_000,
  retryMs: 1_000,
} as const;

const copy = new SharedCopy<DirectoryIndex>(DIRECTORY_AGES);

metrics.onRender(() => {
  const nowMs = Date.now();
  const ageMs = copy.ageMs(nowMs);
  if (Number.isFinite(ageMs)) metrics.set(METRIC.directoryAgeSeconds, {}, ageMs / 1000);
  metrics.reset(METRIC.poolSummaryAgeSeconds);
  for (const known of knownPools.ages(nowMs))
    metrics.set(METRIC.poolSummaryAgeSeconds, { pool: known.pool }, known.ageMs / 1000);
});

/** The configuration in force about a second ago; undefined if it cannot be had. */
export function readDirectory(
  env: Env,
  waitUntil: Reader<DirectoryIndex>["waitUntil"],
): Promise<DirectoryIndex | undefined> {
  return copy.get({ read: (known) => readIndex(env, known), waitUntil });
}

/** What `readDirectory` would say, where it has nothing to wait for. */
export function freshDirectory(): DirectoryIndex | undefined {
  return copy.fresh(Date.now());
}

/** The next request of this isolate sees what was just written. */
export function forgetDirectory(): void {
  copy.forget();
}

/** Whether the directory itself answers now, whatever copies there are. */
export async function directoryAnswers(env: Env): Promise<boolean> {
  try {
    await withDeadline(readStored(env, 0), DIRECTORY_AGES.deadlineMs);
    return true;
  } catch {
    // Unreachable, overloaded or too slow: in each case it cannot be read.
    return false;
  }
}

/** What is stored now. `knownVersion` -1 is none: the empty configuration has version 0. */
export async function readStored(env: Env, knownVersion: number): Promise<DirectoryRead> {
  return env.CONTROL.readConfig(knownVersion);
}

/** The same, and all that is known of pools. */
export async function readStoredPools(env: Env): Promise<StoredPools> {
  const read = await env.CONTROL.readConfig(-1, { epoch: "", revision: 0, digests: [] });
  if ("unchanged" in read) throw new Error("invariant broken: version -1 is in force");
  const { version, deployment } = read;
  // A directory of the release before tells nothing of pools.
  return { version, deployment, pools: read.pools ?? NOTHING_OF_POOLS };
}

const NOTHING_OF_POOLS: PoolsRead = {
  epoch: "",
  revision: 0,
  summaries: [],
  digests: [],
  drained: [],
};

interface StoredPools {
  readonly version: number;
  readonly deployment: Deployment;
  readonly pools: PoolsRead;
}

/** Changes nothing of what the isolate knows: the answer may come too late. */
async function readIndex(
  env: Env,
  known: DirectoryIndex | undefined,
): Promise<() => DirectoryIndex> {
  const askedAtMs = Date.now();
  const wanted = { ...knownPools.known(askedAtMs), resources: knownResources.known };
  const read = await env.CONTROL.readConfig(known?.version ?? -1, wanted);
  return () => take(read, askedAtMs, known);
}

function take(
  read: DirectoryRead,
  askedAtMs: number,
  known: DirectoryIndex | undefined,
): DirectoryIndex {
  if (!("unchanged" in read)) {
    const names = read.deployment.pools.map(({ name }) => name);
    knownPools.configure(names);
    knownResources.configure(names);
  }
  // A directory of the release before tells nothing of pools.
  if (read.pools !== undefined) {
    knownPools.update(read.pools, askedAtMs);
    knownResources.update(read.pools);
  }
  return newIndex(read, known);
}

function newIndex(read: DirectoryRead, known: DirectoryIndex | undefined): DirectoryIndex {
  const isUnchanged = "unchanged" in read;
  if (isUnchanged && known === undefined)
    throw new Error("invariant broken: unchanged, but nothing is known");
  if (isUnchanged && known!.toldRevision === knownResources.revision) return known!;
  const index = isUnchanged
    ? known!.withResources(knownResources)
    : new DirectoryIndex(read.version, read.deployment, knownResources);
  countIgnored(index);
  return index;
}

function countIgnored(index: DirectoryIndex): void {
  metrics.reset(METRIC.clusterResourcesIgnored);
  for (const { config } of index.pools) {
    const { name: pool } = config;
    const told = knownResources.of(pool);
    if (told === undefined) continue;
    for (const { kind, why } of ignoredResources(config, told))
      metrics.inc(METRIC.clusterResourcesIgnored, { pool, kind, why });
  }
}
