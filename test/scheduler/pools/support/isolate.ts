// An isolate that chooses among pools, from the few facts a test is about.

import type { SchedulerConfig } from "../../../../src/scheduler/config/scheduler-config.ts";
import { Breakers } from "../../../../src/scheduler/pools/breakers.ts";
import type {
  PoolChoice,
  PoolChoiceRequest,
  PoolDescription,
} from "../../../../src/scheduler/pools/contracts.ts";
import { PoolChooser } from "../../../../src/scheduler/pools/pool-chooser.ts";
import type { RoutingPolicy } from "../../../../src/scheduler/pools/pool-columns.ts";
import { PoolTable } from "../../../../src/scheduler/pools/pool-table.ts";
import type {
  LoadSignal,
  MembershipSignal,
  PoolSummary,
  SpeedSignal,
} from "../../../../src/scheduler/pools/summary.ts";

export const POLICY: RoutingPolicy = {
  sampleSize: 0,
  staleAfterMs: 3_000,
  affinityMs: 25,
  slowStartMs: 5_000,
};

export function description(
  name: string,
  overrides: Partial<PoolDescription> = {},
): PoolDescription {
  return {
    name,
    region: "eu",
    failoverTier: 0,
    isDrained: false,
    rttMs: 20,
    extraMs: 0,
    inputMsPer1kTokens: 0,
    outputMsPer1kTokens: 0,
    labels: {},
    ...overrides,
  };
}

/** A pool of eight endpoints that are at rest. */
export const AT_REST = {
  membership: { ageMs: 0, endpoints: 8, usable: 8, agents: 2, models: [], adapters: [] },
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
    kvCapacityTokens: 8 * 262_144,
  },
  speed: { prefillMsPerToken: 0.1, serviceMs: 10_000, endedPerSecond: 0 },
} as const satisfies Partial<PoolSummary>;

/** What differs from a pool at rest; `undefined` for a signal that is not told. */
export interface Told {
  readonly membership?: Partial<MembershipSignal> | undefined;
  readonly load?: Partial<LoadSignal> | undefined;
  readonly speed?: Partial<SpeedSignal> | undefined;
  readonly incarnation?: string;
  readonly seq?: number;
  readonly without?: readonly ("membership" | "load" | "speed")[];
}

export function request(overrides: Partial<PoolChoiceRequest> = {}): PoolChoiceRequest {
  return {
    requestId: "request-1",
    tenant: "acme",
    model: "model-a",
    keys: new Uint32Array(0),
    promptTokens: 1_000,
    outputTokensMax: 100,
    session: undefined,
    ...overrides,
  };
}

export class Isolate {
  readonly table: PoolTable;
  readonly breakers = new Breakers();
  readonly rtts = new Map<string, number>();
  readonly chooser: PoolChooser;
  #seq = 0;
  #seed: number;
  #names: string[];

  constructor(
    pools: readonly PoolDescription[],
    policy: Partial<RoutingPolicy> = {},
    { config, seed = 1 }: { config?: SchedulerConfig | undefined; seed?: number } = {},
  ) {
    this.#seed = seed;
    this.#names = pools.map(({ name }) => name);
    this.table = new PoolTable({ ...POLICY, ...policy });
    this.table.set(pools);
    this.chooser = new PoolChooser({
      config,
      table: this.table,
      local: {
        breaker: (pool, nowMs) => this.breakers.state(pool, nowMs),
        saidWell: (pool, nowMs) => this.breakers.saidWell(pool, nowMs),
        isOverloaded: (pool, nowMs) => this.breakers.isOverloaded(pool, nowMs),
        rttMs: (pool) => this.rtts.get(pool),
      },
    });
  }

  hears(pool: string, sentAtMs: number, told: Told = {}): void {
    const { membership, load, speed, incarnation = "i1", seq = ++this.#seq, without = [] } = told;
    const signals = {
      membership: { ...AT_REST.membership, ...membership },
      load: { ...AT_REST.load, ...load },
      speed: { ...AT_REST.speed, ...speed },
    };
    const kept = Object.entries(signals).filter(([name]) => !without.includes(name as "load"));
    const summary = { pool, incarnation, seq, configVersion: 1, ...Object.fromEntries(kept) };
    this.table.heard({ summary: summary as PoolSummary, sentAtMs });
  }

  allHear(sentAtMs: number, told: Told = {}): void {
    for (const pool of this.#names) this.hears(pool, sentAtMs, told);
  }

  choose(
    nowMs: number,
    overrides: Partial<PoolChoiceRequest> = {},
    pools = this.#names,
  ): PoolChoice {
    return this.chooser.choose(request(overrides), pools, nowMs, this.#seed++);
  }

  /** Sends a request and says where. */
  send(nowMs: number, overrides: Partial<PoolChoiceRequest> = {}): string {
    const { order, candidates } = this.choose(nowMs, overrides);
    const [first] = candidates;
    this.table.dispatched(order[0]!, first!.uncachedTokens!, nowMs);
    return order[0]!;
  }

  /** How often each pool comes first of `count` requests that are not sent. */
  shares(nowMs: number, count: number, overrides: Partial<PoolChoiceRequest> = {}) {
    const shares: Record<string, number> = Object.fromEntries(this.#names.map((name) => [name, 0]));
    for (let i = 0; i < count; i++) {
      const first = this.choose(nowMs, overrides).order[0];
      if (first !== undefined) shares[first]! += 1;
    }
    for (const name of this.#names) shares[name]! /= count;
    return shares;
  }
}
