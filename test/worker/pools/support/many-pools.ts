// An isolate that knows several pools: a configuration, what the pools have said, and what is measured.

import { parseDeployment } from "../../../../src/config/deployment.ts";
import { CacheDigestBuilder } from "../../../../src/scheduler/kv/digest/cache-digest-builder.ts";
import { Breakers } from "../../../../src/scheduler/pools/breakers.ts";
import type { PoolChoiceRequest } from "../../../../src/scheduler/pools/contracts.ts";
import type { PoolSummary } from "../../../../src/scheduler/pools/summary.ts";
import { DirectoryIndex } from "../../../../src/worker/directory-index.ts";
import type { ModelRoute } from "../../../../src/worker/model-routes.ts";
import { IsolatePools } from "../../../../src/worker/pools/isolate-pools.ts";
import { KnownPools } from "../../../../src/worker/pools/known-pools.ts";

export const KEYS = Uint32Array.from({ length: 64 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);
export const PROMPT_TOKENS = 2_048;

export function poolsDirectory(
  pools: readonly Record<string, unknown>[],
  routing: Record<string, unknown> = {},
): DirectoryIndex {
  const parsed = parseDeployment({
    version: 1,
    pools: pools.map((pool) => ({
      region: "eu",
      models: ["m"],
      agentToken: "agent-token-0123456789",
      relays: [{ url: "http://relay", keys: [{ id: "k1", secret: "a-secret-0123456789" }] }],
      ...pool,
    })),
    tenants: [],
    routing,
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return new DirectoryIndex(1, parsed.value);
}

/** What an idle pool of one endpoint says; `load` and `membership` change it. */
export function summary(
  pool: string,
  {
    load = {},
    usable = 1,
    ...more
  }: Partial<Omit<PoolSummary, "load">> & {
    readonly load?: Partial<PoolSummary["load"]>;
    readonly usable?: number;
  } = {},
): PoolSummary {
  return {
    pool,
    incarnation: `${pool}-1`,
    seq: 1,
    configVersion: 1,
    membership: { ageMs: 0, endpoints: 1, usable, agents: 2, models: [], adapters: [] },
    load: {
      ageMs: 0,
      saturation: 0,
      waitMs: 0,
      queued: 0,
      inFlightRequests: 0,
      inFlightTokens: 0,
      pendingPrefillTokens: 0,
      queueDepth: 0,
      kvUsage: 0,
      kvCapacityTokens: 500_000,
      ...load,
    },
    speed: { prefillMsPerToken: 0.2, serviceMs: 1_000, endedPerSecond: 1 },
    ...more,
  };
}

export class ManyPools {
  readonly known = new KnownPools();
  readonly breakers = new Breakers();
  readonly rttsMs = new Map<string, number>();
  readonly pools = new IsolatePools({
    known: this.known,
    breakers: this.breakers,
    rtts: { rttMs: (pool) => this.rttsMs.get(pool) },
  });
  readonly directory: DirectoryIndex;
  #revision = 0;

  constructor(directory: DirectoryIndex) {
    this.directory = directory;
    this.known.configure(directory.poolNames);
  }

  /** `sentAtMs`: when each left its pool. */
  hear(summaries: readonly PoolSummary[], sentAtMs: number): this {
    for (const each of summaries) this.known.heard(each, sentAtMs);
    return this;
  }

  /** A pool's caches hold the first blocks of these keys. */
  hold(pool: string, keys: Uint32Array, nowMs: number): this {
    const builder = new CacheDigestBuilder({ keyCount: keys.length / 2 });
    builder.addKeys(keys);
    const bytes = builder.encode();
    this.#read({ digests: [{ pool, version: `${pool}-d1`, ageMs: 0, bytes }] }, nowMs);
    return this;
  }

  drain(pools: readonly string[], nowMs: number): this {
    this.#read({ drained: pools }, nowMs);
    return this;
  }

  #read(more: object, nowMs: number): void {
    const revision = ++this.#revision;
    const none = { epoch: "e", revision, summaries: [], digests: [], drained: [] };
    this.known.update({ ...none, ...more }, nowMs);
  }

  routes(more: Partial<Record<string, Partial<ModelRoute>>> = {}): ModelRoute[] {
    return this.directory.pools.map((pool) => ({
      pool,
      model: "m",
      rewrite: null,
      variant: null,
      isFallback: false,
      ...more[pool.config.name],
    }));
  }
}

export function choiceRequest(more: Partial<PoolChoiceRequest> = {}): PoolChoiceRequest {
  return {
    requestId: "r",
    tenant: "t",
    model: "m",
    keys: new Uint32Array(),
    promptTokens: PROMPT_TOKENS,
    outputTokensMax: 100,
    session: undefined,
    ...more,
  };
}
