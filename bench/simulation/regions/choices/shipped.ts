// The shipped choice among pools, as an isolate drives it.
//
//   read ──► PoolTable: summaries, digests
//   choose ──► PoolChooser ──► what is sent counts at once
//   ended ──► Breakers

import { loadSchedulerConfig } from "../../../../src/scheduler/config/load.ts";
import type { SchedulerConfig } from "../../../../src/scheduler/config/scheduler-config.ts";
import { Breakers } from "../../../../src/scheduler/pools/breakers.ts";
import { defaultRouting } from "../../../../src/scheduler/pools/default-routing.ts";
import { PoolChooser } from "../../../../src/scheduler/pools/pool-chooser.ts";
import type { RoutingPolicy } from "../../../../src/scheduler/pools/pool-columns.ts";
import { PoolTable } from "../../../../src/scheduler/pools/pool-table.ts";
import type { RoutedRequest } from "../../policy.ts";
import type { PoolChoice, PoolChoiceContext, PoolChoiceDefinition } from "../choice.ts";
import { REGIONS } from "../topology.ts";

export interface ShippedOptions {
  readonly name?: string;
  readonly policy?: Partial<RoutingPolicy>;
  /** Of a plugin of the default routing, by type. */
  readonly parameters?: Readonly<Record<string, object>>;
  /** Whether clients say which requests belong together. */
  readonly hasSessions?: boolean;
  /** Whether digests are read. */
  readonly readsDigests?: boolean;
}

/** As config/routing.ts has them. */
const DEFAULTS: RoutingPolicy = {
  sampleSize: 0,
  staleAfterMs: 3_000,
  affinityMs: 25,
  slowStartMs: 5_000,
};

export function shippedChoice(options: ShippedOptions = {}): PoolChoiceDefinition {
  const { readsDigests = true } = options;
  return {
    name: options.name ?? "ours",
    about: "The shipped choice by cost, with its defaults; sessions are known by their hints.",
    readsDigests,
    create: (context) => createChoice(options, context),
  };
}

function createChoice(options: ShippedOptions, context: PoolChoiceContext): PoolChoice {
  const { rttMs, rng, staleAfterMs } = context;
  const table = new PoolTable({ ...DEFAULTS, staleAfterMs, ...options.policy });
  const breakers = new Breakers();
  const chooser = new PoolChooser({
    config: configOf(options),
    table,
    local: {
      breaker: (pool, nowMs) => breakers.state(pool, nowMs),
      rttMs: (pool) => rttMs[REGIONS.indexOf(pool as (typeof REGIONS)[number])],
      isOverloaded: (pool, nowMs) => breakers.isOverloaded(pool, nowMs),
    },
  });
  table.set(REGIONS.map((name, pool) => describe(name, rttMs[pool]!)));
  /** Requests that try a pool that had failed. */
  const probes = new Set<RoutedRequest>();
  const digestVersions: (string | undefined)[] = [];
  return {
    choose(request, nowMs) {
      const seed = Math.floor(rng() * 0x1_0000_0000);
      const asked = asPoolRequest(request, options.hasSessions ?? true);
      const { order, candidates } = chooser.choose(asked, REGIONS, nowMs, seed);
      const first = order[0];
      if (first === undefined) return [];
      const { promptTokens } = asked;
      const chosen = candidates.find(({ pool }) => pool === first);
      table.dispatched(first, chosen?.uncachedTokens ?? promptTokens, nowMs);
      return order.map((pool) => REGIONS.indexOf(pool as (typeof REGIONS)[number]));
    },
    read(pools) {
      pools.forEach((pool, i) => {
        if (pool === undefined) return;
        const { summary } = pool.heard;
        table.heard(pool.heard);
        if (summary.digestVersion === digestVersions[i]) return;
        digestVersions[i] = summary.digestVersion;
        table.heardDigest(summary.pool, pool.digest);
      });
    },
    trying(request, pool, nowMs) {
      const permit = breakers.acquire(REGIONS[pool]!, nowMs);
      if (permit === "probe") probes.add(request);
      return permit !== undefined;
    },
    ended(request, pool, { outcome, nowMs }) {
      const name = REGIONS[pool]!;
      if (outcome === "neutral") breakers.overloaded(name, nowMs);
      const permit = probes.delete(request) ? "probe" : "pass";
      // Nobody listens there.
      const isFatal = outcome === "failure";
      breakers.record(name, { permit, outcome, isFatal }, nowMs, rng);
    },
  };
}

function configOf({ parameters = {} }: ShippedOptions): SchedulerConfig {
  const base = defaultRouting();
  if (Object.keys(parameters).length === 0) return base;
  const plugins = base.plugins.map(({ name, type, parameters: before }) => ({
    name,
    type,
    parameters: { ...before, ...parameters[type] },
  }));
  const loaded = loadSchedulerConfig({ plugins, schedulingProfiles: base.schedulingProfiles });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded));
  return loaded.config;
}

function describe(name: string, rttMs: number) {
  return {
    name,
    region: name,
    failoverTier: 0,
    isDrained: false,
    rttMs,
    extraMs: 0,
    inputMsPer1kTokens: 0,
    outputMsPer1kTokens: 0,
    labels: {},
  };
}

function asPoolRequest({ inference, session }: RoutedRequest, hasSessions: boolean) {
  const { requestId, tenant, model, keys, promptTokens, outputTokensMax } = inference;
  const low = Math.imul(session + 1, 0x9e37_79b1) >>> 0;
  const high = Math.imul(session + 1, 0x85eb_ca6b) >>> 0;
  return {
    requestId,
    tenant,
    model,
    keys,
    promptTokens,
    outputTokensMax,
    session: hasSessions ? ({ source: "header", low, high } as const) : undefined,
  };
}
