// The pools as one isolate knows them: what is configured, what they say of themselves, and what was sent
// to them since. The EndpointTable of the choice among pools, so that every scorer works over it.
//
//   set()           configuration: gives and frees slots
//   heard()         a summary: loads, members, speeds, each with its own age
//   heardDigest()   what a pool's caches hold
//   read()          what pools had said by then is known: their silence since is nobody's fault but ours
//   dispatched()    a request that no summary has shown yet
//   allow()         before each decision: who comes into question, and what depends on the time and on this isolate's own experience
//
// What an earlier incarnation of a pool's object said of loads and members is void. Speeds and digests are not:
// they are the engines', which stay when their object starts anew.

import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { type Endpoint, EndpointTable } from "../model/endpoint-table.ts";
import { UNLEARNED } from "../model/engine-speeds.ts";
import { POOLS_MAX } from "./bounds.ts";
import type {
  HeardSummary,
  LocalKnowledge,
  PoolChoiceRequest,
  PoolDescription,
} from "./contracts.ts";
import { Credits } from "./credits.ts";
import { BREAKER, FRESHNESS, type PoolColumns, type RoutingPolicy } from "./pool-columns.ts";
import { fillConfigured, forgetTold, levelSpeeds, PoolFacts, takeTold } from "./pool-facts.ts";
import { ServiceRecord } from "./service-record.ts";
import { SummaryOrder } from "./summary-order.ts";
import type { PoolSummary } from "./summary.ts";

/** What a pool's caches hold; see kv/digest. */
export interface CacheKnowledge {
  /** Content blocks of the prompt that the pool holds without a gap from the first. */
  matchedBlocks(keys: Uint32Array): number;
}

/** A pool whose load is older than so many times `staleAfterMs` is as one that never told any. */
const SILENT_FACTOR = 10;
/**
 * While the last read is no older, ages are as of that read. An isolate of few requests reads seldom, and hears
 * of those alone in between that answer it: pools would be stale for nothing but not having been asked about.
 */
const READ_AGE_MS_MAX = 5_000;

/** Tiers that a Uint8Array can hold; a deployment has ten. */
const FAILOVER_TIERS_MAX = 256;

/** Means over a pool's endpoints, as llm-d's hub mode calls them. */
export const QUEUE_SIZE_KEY = "llm-d.ai/multicluster-queue-size";
export const KV_UTILIZATION_KEY = "llm-d.ai/multicluster-kv-cache-utilization";

/** What a decision depends on besides the table. */
export interface Moment {
  readonly local: LocalKnowledge;
  readonly nowMs: number;
  readonly renamed?: PoolChoiceRequest["renamed"] | undefined;
}

/** One an isolate. About 400 kB, whatever the number of pools. */
export class PoolTable {
  readonly #endpoints = new EndpointTable();
  readonly #facts: PoolFacts;
  readonly #credits = new Credits(POOLS_MAX);
  readonly #service = new ServiceRecord(POOLS_MAX);
  readonly #heard: (PoolSummary | undefined)[] = [];
  readonly #orders: SummaryOrder[] = [];
  readonly #digests: (CacheKnowledge | undefined)[] = [];
  readonly #loadAtMs = new Float64Array(POOLS_MAX).fill(-Infinity);
  readonly #membersAtMs = new Float64Array(POOLS_MAX).fill(-Infinity);
  readonly #rttMs = new Float64Array(POOLS_MAX);
  readonly #queueSize: Float64Array;
  /** 1: it has said that it has endpoints again, and nobody was told yet. */
  readonly #isBack = new Uint8Array(POOLS_MAX);
  /** Of the decision in progress. */
  readonly #slots = new Int32Array(POOLS_MAX);
  /**
   * By failover tier, of the pool that told its load last. While nobody of a tier is fresh, its pools are used as
   * before: a higher tier is for those that cannot serve, and where nobody at all is, it is this isolate that hears nothing.
   */
  readonly #newestAtMs = new Float64Array(FAILOVER_TIERS_MAX).fill(-Infinity);
  #readAtMs = -Infinity;
  #isBegun = false;

  constructor(policy: RoutingPolicy) {
    this.#facts = new PoolFacts(policy);
    this.#endpoints.defineScalars([QUEUE_SIZE_KEY, KV_UTILIZATION_KEY]);
    this.#queueSize = this.#endpoints.columns.scalar(QUEUE_SIZE_KEY)!;
  }

  /** For scorers of any kind. `isPresent` is the chooser's to set, for each decision. */
  get columns(): EndpointColumns {
    return this.#endpoints.columns;
  }

  get pools(): PoolColumns {
    return this.#facts;
  }

  get facts(): PoolFacts {
    return this.#facts;
  }

  slotOf(pool: string): number | undefined {
    return this.#endpoints.slotOf(pool);
  }

  endpoint(slot: number): Endpoint | undefined {
    return this.#endpoints.endpoint(slot);
  }

  /** The last one that was not ignored. */
  summaryOf(pool: string): PoolSummary | undefined {
    const slot = this.slotOf(pool);
    return slot === undefined ? undefined : this.#heard[slot];
  }

  /**
   * Takes over a configuration. What is known of pools that stay is kept. Those past POOLS_MAX are left out. Slots
   * of pools that left are returned: whoever knows pools by slot forgets them.
   */
  set(pools: readonly PoolDescription[], policy?: RoutingPolicy): readonly number[] {
    if (policy !== undefined) this.#facts.policy = policy;
    const kept = pools.slice(0, POOLS_MAX);
    const names = new Set(kept.map(({ name }) => name));
    const removed: number[] = [];
    for (let slot = 0; slot < this.columns.slotCount; slot++) {
      const endpoint = this.#endpoints.endpoint(slot);
      if (endpoint === undefined || names.has(endpoint.id)) continue;
      this.#endpoints.remove(slot);
      removed.push(slot);
    }
    for (const pool of kept) this.#add(pool);
    levelSpeeds(this.#facts, this.columns.slotCount);
    this.#isBegun ||= kept.length > 0;
    return removed;
  }

  /** The operator's word on all pools, between configurations. */
  setDrained(pools: readonly string[]): void {
    const drained = new Set(pools);
    for (let slot = 0; slot < this.columns.slotCount; slot++) {
      const endpoint = this.#endpoints.endpoint(slot);
      if (endpoint === undefined) continue;
      const isDrained = drained.has(endpoint.id);
      this.#facts.isDrained[slot] = isDrained ? 1 : 0;
      // Now, for while it is drained it may not come into question at all.
      if (isDrained) this.#service.taken(slot);
    }
  }

  /** Ignores what is older than what is known, and pools that are not configured. */
  heard({ summary, sentAtMs }: HeardSummary): void {
    const slot = this.slotOf(summary.pool);
    if (slot === undefined) return;
    if (!this.#orders[slot]!.take(summary, sentAtMs)) return;
    const before = this.#heard[slot];
    if (before !== undefined && before.incarnation !== summary.incarnation) this.#forgetTold(slot);
    this.#heard[slot] = summary;
    this.#take(slot, summary, sentAtMs);
  }

  /** Everything that pools had told their directory by `atMs` has been heard. */
  read(atMs: number): void {
    this.#readAtMs = Math.max(this.#readAtMs, atMs);
  }

  /** Undefined: nothing is known of what the pool holds. */
  heardDigest(pool: string, digest: CacheKnowledge | undefined): void {
    const slot = this.slotOf(pool);
    if (slot !== undefined) this.#digests[slot] = digest;
  }

  /** A request was sent to `pool`: `tokens` of its prompt are not cached there. */
  dispatched(pool: string, tokens: number, nowMs: number): void {
    const slot = this.slotOf(pool);
    if (slot === undefined) return;
    const { prefillMsPerToken, usable } = this.#facts;
    const workMs = (tokens * prefillMsPerToken[slot]!) / usable[slot]!;
    this.#credits.add(slot, { workMs, tokens }, nowMs);
    this.#queueSize[slot]! += 1 / usable[slot]!;
  }

  /** Fills `matchedBlocks` of the pools that may be picked; see PrefixSources. */
  readonly match = (keys: Uint32Array, matchedBlocks: Int32Array): void => {
    const { isPresent, slotCount } = this.columns;
    for (let slot = 0; slot < slotCount; slot++) {
      const digest = isPresent[slot] === 1 ? this.#digests[slot] : undefined;
      const asked = this.#facts.renamed[slot]?.keys ?? keys;
      matchedBlocks[slot] = digest === undefined ? 0 : digest.matchedBlocks(asked);
    }
  };

  /**
   * Lets those of `pools` be picked that are not drained, with all that depends on the time as it is now. Says how many
   * there are.
   */
  // Hot path: proxy-3-pools in bench/.
  allow(pools: readonly string[], { local, nowMs, renamed }: Moment): number {
    const { columns } = this;
    columns.isPresent.fill(0, 0, columns.slotCount);
    let count = 0;
    for (const pool of pools) {
      const slot = this.slotOf(pool);
      if (slot === undefined || columns.isPresent[slot] === 1) continue;
      this.#observe(slot, local, nowMs);
      this.#facts.renamed[slot] = renamed?.get(pool);
      // The operator's word, whatever the scheduler has filters for.
      if (this.#facts.isDrained[slot] === 1) continue;
      columns.isPresent[slot] = 1;
      this.#slots[count++] = slot;
    }
    this.#credits.advance(this.#slots, count, this.#facts, nowMs);
    return count;
  }

  #observe(slot: number, local: LocalKnowledge, nowMs: number): void {
    const facts = this.#facts;
    const name = this.#endpoints.endpoint(slot)!.id;
    if (this.#isBack[slot] === 1) local.saidWell?.(name, nowMs);
    this.#isBack[slot] = 0;
    const breaker = local.breaker(name, nowMs);
    facts.breaker[slot] =
      breaker === "closed" ? BREAKER.closed : breaker === "open" ? BREAKER.open : BREAKER.halfOpen;
    facts.isOverloaded[slot] = local.isOverloaded?.(name, nowMs) === true ? 1 : 0;
    facts.rttMs[slot] = local.rttMs(name, nowMs) ?? this.#rttMs[slot]!;
    const knownAtMs = this.#knownAtMs(nowMs);
    facts.loadAgeMs[slot] = Math.max(0, knownAtMs - this.#loadAtMs[slot]!);
    facts.freshness[slot] = this.#freshness(slot, knownAtMs);
    const { staleAfterMs, slowStartMs } = facts.policy;
    const isFresh = facts.freshness[slot] === FRESHNESS.fresh;
    const newestAtMs = this.#newestAtMs[facts.failoverTier[slot]!]!;
    const isAnyFresh = knownAtMs - newestAtMs <= staleAfterMs;
    const isIn =
      breaker === "closed" &&
      facts.isDrained[slot] === 0 &&
      (isFresh ? facts.isEmpty[slot] === 0 : !isAnyFresh);
    facts.isIn[slot] = isIn ? 1 : 0;
    facts.admission[slot] = this.#service.observe(slot, isIn, { nowMs, slowStartMs });
  }

  /** As of when ages are reckoned. */
  #knownAtMs(nowMs: number): number {
    return nowMs - this.#readAtMs <= READ_AGE_MS_MAX ? Math.min(nowMs, this.#readAtMs) : nowMs;
  }

  #freshness(slot: number, knownAtMs: number): number {
    const { staleAfterMs } = this.#facts.policy;
    const ageMs = knownAtMs - Math.min(this.#loadAtMs[slot]!, this.#membersAtMs[slot]!);
    if (ageMs <= staleAfterMs) return FRESHNESS.fresh;
    return ageMs <= SILENT_FACTOR * staleAfterMs ? FRESHNESS.stale : FRESHNESS.silent;
  }

  #add(pool: PoolDescription): void {
    const { name, labels } = pool;
    const known = this.slotOf(name);
    const slot = this.#endpoints.add({ id: name, address: name, engine: "pool", labels });
    if (slot === undefined) return;
    if (known === undefined) {
      this.#heard[slot] = undefined;
      this.#orders[slot] = new SummaryOrder();
      this.#digests[slot] = undefined;
      this.#credits.clear(slot);
      this.#service.begin(slot, !this.#isBegun);
      this.#forgetTold(slot);
      this.#facts.hasSpeed[slot] = 0;
      this.#facts.prefillMsPerToken[slot] = UNLEARNED.prefillMsPerToken;
      this.#facts.serviceMs[slot] = UNLEARNED.serviceMs;
    }
    this.#rttMs[slot] = pool.rttMs;
    fillConfigured(this.#facts, slot, pool);
  }

  #forgetTold(slot: number): void {
    this.#loadAtMs[slot] = -Infinity;
    this.#membersAtMs[slot] = -Infinity;
    this.#isBack[slot] = 0;
    this.#endpoints.forgetLoads(slot);
    forgetTold(this.#facts, slot);
  }

  #take(slot: number, summary: PoolSummary, sentAtMs: number): void {
    const { load, membership } = summary;
    const wasEmpty = this.#facts.isEmpty[slot] === 1;
    takeTold(this.#facts, slot, summary);
    if (wasEmpty && this.#facts.isEmpty[slot] === 0) this.#isBack[slot] = 1;
    if (summary.speed !== undefined) levelSpeeds(this.#facts, this.columns.slotCount);
    if (membership !== undefined) {
      this.#membersAtMs[slot] = sentAtMs - membership.ageMs;
      // Engines that are gone took their caches with them.
      if (membership.endpoints === 0) this.#digests[slot] = undefined;
    }
    if (load === undefined) return;
    const loadAtMs = sentAtMs - load.ageMs;
    this.#loadAtMs[slot] = loadAtMs;
    const tier = this.#facts.failoverTier[slot]!;
    this.#newestAtMs[tier] = Math.max(this.#newestAtMs[tier]!, loadAtMs);
    this.#credits.told(slot, sentAtMs);
    const usable = this.#facts.usable[slot]!;
    this.#endpoints.applySample(
      slot,
      {
        waiting: load.queueDepth,
        running: load.inFlightRequests / usable,
        kvUsage: load.kvUsage,
        kvBlockSize: 1,
        kvBlocks: load.kvCapacityTokens,
        scalars: new Map([
          [QUEUE_SIZE_KEY, load.queueDepth + this.#credits.requests(slot) / usable],
          [KV_UTILIZATION_KEY, load.kvUsage],
        ]),
      },
      loadAtMs,
    );
    this.#setWork(slot, summary, sentAtMs);
  }

  /** Columns that an EndpointTable counts up itself: here the pool does. */
  #setWork(slot: number, { load, speed }: PoolSummary, sentAtMs: number): void {
    const columns = this.columns;
    if (load !== undefined) {
      columns.inFlightRequests[slot] = load.inFlightRequests;
      columns.inFlightTokens[slot] = load.inFlightTokens;
      columns.prefillBusyUntilMs[slot] = sentAtMs + load.waitMs;
    }
    if (speed?.prefillMsPerToken !== undefined)
      columns.prefillMsPerToken[slot] = speed.prefillMsPerToken;
    if (speed?.serviceMs !== undefined) columns.serviceMs[slot] = speed.serviceMs;
  }
}
