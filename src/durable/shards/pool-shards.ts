// A pool's object as one of several: what it tells the lead and hears of the others, which requests are its
// own, and what its queue may let through. The only object of a pool does none of it.
//
//   prompts it has seen, loads, prefill, service, credit ask ─► exchange ─► lead, perhaps itself
//   the map, the others' loads, prefill and service, credit  ◄──┘
//
// In memory but for a lead's map.

import type { Configure } from "../../agents/protocol/messages.ts";
import { type PoolsBindings, poolsFor } from "../../config/coordinators.ts";
import { poolAddress } from "../../config/pool-address.ts";
import { ONE_SHARD, type ShardMap } from "../../scheduler/shards/contracts.ts";
import { PromptSampler, sampleIntervalMs } from "../../scheduler/shards/hot-roots.ts";
import { ShardLane } from "../../scheduler/shards/lane.ts";
import { TotalsOfOthers } from "../../scheduler/shards/totals.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { MovedPick, PoolObjectConfig } from "../contract.ts";
import type { Endpoints } from "../endpoints.ts";
import type { PickQueue } from "../queue/pick-queue.ts";
import type { PoolRoom, QueueCapacity } from "../queue/queue-options.ts";
import type { EndpointLoads, LeadPort, ShardAnswer, ShardTold } from "./contract.ts";
import { ownLoads, ownPrefill, showOthers } from "./endpoint-loads.ts";
import { KeptMap } from "./kept-map.ts";
import { ShardCapacity } from "./shard-capacity.ts";
import { ShardExchange } from "./shard-exchange.ts";
import { ShardLead } from "./shard-lead.ts";

/** Requests that wait for the lead's first word outside the queue. Beyond that they are turned away, as from a full pool. */
export const WAKING_PICKS_MAX = 1_000;

/** Of an object: its pool's other objects can be in other processes. */
export type ShardsEnv = Partial<PoolsBindings<LeadPort>>;

export interface PoolShardsOptions {
  readonly env: ShardsEnv;
  readonly storage: DurableObjectStorage;
  readonly clock: Clock;
  /** Random at each construction of the object. */
  readonly epoch: string;
  readonly registry: MetricRegistry;
  readonly endpoints: Endpoints;
  readonly queue: () => PickQueue | undefined;
  readonly tickets: () => { readonly open: number; readonly unsettled: number };
  /** Agents and isolates are to be told. */
  readonly mapChanged: () => void;
}

interface Place {
  readonly pool: string;
  readonly index: number;
  readonly count: number;
  /** Of the lead. */
  readonly address: ReturnType<typeof poolAddress>;
}

export class PoolShards implements QueueCapacity {
  readonly #options: PoolShardsOptions;
  readonly #kept: KeptMap;
  readonly #sampler = new PromptSampler();
  readonly #prefill = new TotalsOfOthers();
  readonly #service = new TotalsOfOthers();
  readonly #exchange: ShardExchange;
  #place: Place | undefined;
  #lead: ShardLead | undefined;
  #capacity: ShardCapacity | undefined;
  /** It is the pool's first object, which leads the others if there are any. */
  #isLead = false;
  /** Who waits for the lead's first word, first come first. */
  #waking: (() => void)[] = [];
  readonly #lane = new ShardLane();
  /** Flow control has been turned on so often. */
  #capacityLives = 0;
  /** The others' loads stand in the columns, as they were told. */
  #showsOthers = false;
  /** As told by the lead; the count is the configuration's. */
  #map: ShardMap = ONE_SHARD;
  #seq = 0;

  constructor(options: PoolShardsOptions) {
    this.#options = options;
    const { clock, registry, storage } = options;
    this.#kept = new KeptMap(storage);
    this.#exchange = new ShardExchange({
      clock,
      tell: (isLeaving) => this.#tell(isLeaving),
      isBusy: () => this.#isBusy,
      answered: (answer, askedAtMs) => this.#answered(answer, askedAtMs),
      silent: () => this.#showAlone(),
      told: (outcome) => {
        registry.inc(METRIC.shardMessagesTotal, { outcome });
        if (outcome === "failed") this.#notAnswered();
        // After a last word, and the first of another lead, it is the next that says something.
        if (this.#capacity?.isWaking !== true) this.#awoken();
      },
    });
    registry.onRender(() => this.#showMetrics());
  }

  configure(config: PoolObjectConfig | null): void {
    const before = this.#place;
    this.#place = config === null ? undefined : placeOf(config);
    this.#isLead = config !== null && (config.shard?.index ?? 0) === 0;
    if (!this.#isLead) this.#lead = undefined;
    const { count = 1, index = 0, pool } = this.#place ?? {};
    if (pool !== before?.pool) this.#capacity = undefined;
    if (index === 0) this.#leadsFor(count);
    else this.#setMap({ ...this.#map, count });
    if (!this.#isOneOfSeveral) this.#exchange.stop();
    this.#showAlone();
    if (this.moved() !== undefined) this.#options.queue()?.sendAway();
    this.#awoken();
  }

  /** How the pool is spread; undefined for the only object of a pool, which nobody has to tell of it. */
  get map(): ShardMap | undefined {
    return this.#place === undefined ? undefined : this.#map;
  }

  /** The same for agents, who are told which of the objects they talk to. */
  get agentsMap(): Configure["shards"] {
    if (this.#place === undefined) return undefined;
    const splits = this.#map.splits.map(([low, high, block]): [number, number, number] => [
      low,
      high,
      block,
    ]);
    return { ...this.#map, index: this.#index, splits };
  }

  get #index(): number {
    return this.#place?.index ?? 0;
  }

  /** Where to go instead, with a new request; undefined where it is served here. */
  moved(): MovedPick | undefined {
    if (this.#place === undefined || this.#place.index < this.#place.count) return undefined;
    return { ok: "moved", shards: this.#map };
  }

  /** A request has come to this shard, by whatever way. */
  observe(keys: Uint32Array): void {
    if (!this.#isOneOfSeveral) return;
    const intervalMs = sampleIntervalMs(this.#map.count);
    this.#sampler.observe(keys, this.#options.clock(), intervalMs);
    this.#exchange.noticed();
  }

  /** Another shard's word, or the lead's own; undefined where this is no lead. */
  told(told: ShardTold): ShardAnswer | undefined {
    if (!this.#isLead) return undefined;
    // There are others, or were until just now.
    this.#lead ??= this.#createLead(this.#map, false);
    return this.#lead.told(told);
  }

  /**
   * For a request that cannot wait in the queue: resolves when the lead has said what may be let through, or cannot
   * be asked, and never rejects. Undefined where that is known. It takes two messages at most.
   */
  awake(): Promise<void> | undefined {
    if (!this.#isOneOfSeveral || this.moved() !== undefined) return undefined;
    const isWaking = this.#ownCapacity?.isWaking === true;
    if (!isWaking || this.#waking.length >= WAKING_PICKS_MAX) return undefined;
    const awake = new Promise<void>((resolve) => this.#waking.push(resolve));
    this.wanted(this.#options.queue()?.waitingCount ?? 0);
    return awake;
  }

  /** After those that wait in the queue: their turn is planned. */
  #awoken(): void {
    const waking = this.#waking;
    this.#waking = [];
    for (const resolve of waking) resolve();
  }

  isThere(): boolean {
    return !this.#isOneOfSeveral || (this.#ownCapacity?.isThere() ?? true);
  }

  spend(): void {
    if (this.#isOneOfSeveral) this.#capacity?.spend();
  }

  wanted(requests: number): void {
    if (this.#isOneOfSeveral) this.#ownCapacity?.wanted(requests + this.#waking.length);
  }

  /** By slot, 1: it sends there first what could go anywhere. Undefined for the only object, and one that is to go. */
  get lane(): Uint8Array | undefined {
    const place = this.#place;
    if (place === undefined || place.count === 1 || place.index >= place.count) return undefined;
    return this.#lane.of(this.#options.endpoints.table, place);
  }

  /** Of what the pool seems to have room for, what this shard may let through without asking anybody. */
  roomOf(poolRoom: number): number {
    if (!this.#isOneOfSeveral) return poolRoom;
    const capacity = this.#ownCapacity;
    const isShared = capacity?.isTogether !== true;
    const seen = isShared ? poolRoom / this.#map.count : poolRoom;
    return Math.min(seen, capacity?.available ?? Infinity);
  }

  get #isOneOfSeveral(): boolean {
    const place = this.#place;
    if (place !== undefined && place.count > 1) return true;
    // One that is to go tells the lead what it still has, and the lead has to hear of it.
    return place !== undefined && place.index > 0 ? true : this.#lead?.isAnyHeard === true;
  }

  get #isBusy(): boolean {
    const { tickets, queue } = this.#options;
    const waiting = this.#waking.length + (queue()?.waitingCount ?? 0);
    return this.#isOneOfSeveral && tickets().open + waiting > 0;
  }

  #leadsFor(count: number): void {
    if (count > 1 && this.#lead === undefined) {
      const kept = this.#kept.read();
      this.#lead = this.#createLead(kept, kept.count === 1);
    }
    this.#lead?.setCount(count);
    if (this.#lead === undefined) this.#setMap(ONE_SHARD);
    else this.#setMap(this.#lead.map);
  }

  #createLead(map: ShardMap, isFirst: boolean): ShardLead {
    const { clock, epoch } = this.#options;
    return new ShardLead(
      {
        clock,
        epoch,
        isFirst,
        pool: () => this.#poolRoom(),
        heard: () => {
          this.#exchange.noticed();
          this.#showLoads(this.#lead!.othersOf(0));
        },
        shownUntilMs: (address) => {
          const { table } = this.#options.endpoints;
          const slot = table.slotOfAddress(address);
          return slot === undefined ? -Infinity : table.shownUntilMs(slot);
        },
        mapChanged: (changed) => {
          this.#kept.write(changed);
          if (this.#index === 0) this.#setMap(changed);
        },
      },
      map,
    );
  }

  #setMap(map: ShardMap): void {
    const { version, count } = this.#map;
    this.#map = map;
    if (map.version !== version || map.count !== count) this.#options.mapChanged();
  }

  async #tell(isLeaving: boolean): Promise<(ShardAnswer & Partial<Disposable>) | undefined> {
    const told = this.#compose(isLeaving);
    if (this.#index === 0) return this.told(told);
    const { env } = this.#options;
    if (env.POOLS === undefined) throw new Error("there is no binding to other objects");
    const { address } = this.#place!;
    return poolsFor(env as PoolsBindings<LeadPort>, address).tellLead(address, told);
  }

  #compose(isLeaving: boolean): ShardTold {
    const { epoch, endpoints, queue, clock } = this.#options;
    const waiting = queue();
    const capacity = this.#ownCapacity;
    return {
      shard: this.#index,
      epoch,
      seq: ++this.#seq,
      count: this.#map.count,
      mapVersion: this.#map.version,
      isLeaving,
      wantsAll: this.#prefill.wantsAll(clock()),
      samples: this.#sampler.take(),
      loads: ownLoads(endpoints.table),
      prefill: ownPrefill(endpoints.table, epoch),
      work: [],
      service: (waiting?.gate.attained() ?? []).map((total) => ({
        ...total,
        life: `${epoch}.${total.life}`,
      })),
      ...(capacity === undefined ? {} : { credit: capacity.ask(isLeaving) }),
      waiting: waiting?.waitingCount ?? 0,
    };
  }

  /** Undefined without flow control. */
  get #ownCapacity(): ShardCapacity | undefined {
    if (this.#options.queue() === undefined) this.#capacity = undefined;
    else this.#capacity ??= this.#createCapacity();
    return this.#capacity;
  }

  #createCapacity(): ShardCapacity {
    const { clock, epoch } = this.#options;
    // One that begins anew has spent nothing: the lead is not to take it for the one before.
    this.#capacityLives += 1;
    return new ShardCapacity({
      clock,
      pool: this.#place?.pool ?? "",
      epoch: `${epoch}/${this.#capacityLives}`,
      underWay: () => this.#options.tickets().open,
      ask: () => this.#exchange.hurry(),
      press: () => this.#exchange.press(),
    });
  }

  #notAnswered(): void {
    this.#capacity?.notAnswered();
    this.#options.queue()?.drainSoon();
  }

  #answered(answer: ShardAnswer, askedAtMs: number): void {
    // The last of the others may have gone meanwhile.
    if (!this.#isOneOfSeveral) return this.#showAlone();
    const nowMs = this.#options.clock();
    const { map, credit, epoch } = answer;
    if (map !== undefined && this.#index !== 0) this.#takeMap(map);
    if (credit === undefined) this.#capacity?.notGranted();
    else this.#capacity?.granted(credit, askedAtMs);
    this.#showLoads(answer.loads);
    const { table } = this.#options.endpoints;
    for (const [address, tokens] of this.#prefill.heard(epoch, answer.prefill ?? [], nowMs)) {
      const slot = table.slotOfAddress(address);
      if (slot !== undefined) table.workedElsewhere(slot, tokens, nowMs);
    }
    const queue = this.#options.queue();
    queue?.gate.servedElsewhere(this.#service.heard(epoch, answer.service, nowMs));
    queue?.drainSoon();
  }

  /** The configuration says how many there are; a lead that has not heard of it yet, or no more, does not. */
  #takeMap(map: ShardMap): void {
    this.#setMap({ ...map, count: this.#place?.count ?? map.count });
  }

  #showLoads(loads: EndpointLoads): void {
    // Without a grant it goes by its share alone: to count the others as well would be to count them twice.
    if (this.#capacity?.isTogether === false) this.#showAlone();
    else this.#showTogether(loads);
  }

  #showTogether(loads: EndpointLoads): void {
    const { endpoints, clock } = this.#options;
    this.#showsOthers = true;
    endpoints.table.assumeAlike(1);
    showOthers(endpoints.table, loads, clock());
  }

  /** Nothing is known of the others. */
  #showAlone(): void {
    const { endpoints, clock } = this.#options;
    const isAlone = this.#isOneOfSeveral && this.#map.count > 1;
    this.#showsOthers = false;
    endpoints.table.assumeAlike(isAlone ? this.#map.count : 1);
    showOthers(endpoints.table, undefined, clock());
  }

  /**
   * What the lead grants by: always what all have told, also while its own queue goes by its share, with the
   * columns as if it were alone. They show the others for as long as it takes to look.
   */
  #poolRoom(): PoolRoom | undefined {
    const queue = this.#options.queue();
    if (queue === undefined || this.#showsOthers) return queue?.gate.poolRoom();
    this.#showTogether(this.#lead!.othersOf(0));
    try {
      return queue.gate.poolRoom();
    } finally {
      this.#showAlone();
    }
  }

  #showMetrics(): void {
    const { registry } = this.#options;
    if (this.#place === undefined) return;
    registry.set(METRIC.shardCount, {}, this.#map.count);
    registry.set(METRIC.shardSplits, {}, this.#map.splits.length);
    const capacity = this.#capacity;
    const credit = capacity?.isTogether === true ? capacity.available : 0;
    registry.set(METRIC.shardCreditRequests, {}, credit);
    registry.set(METRIC.shardsAlone, {}, capacity?.isTogether === false ? 1 : 0);
  }
}

function placeOf({ name, shard }: PoolObjectConfig): Place | undefined {
  if (shard === undefined) return undefined;
  const { index, count, jurisdiction } = shard;
  return { pool: name, index, count, address: poolAddress({ name, jurisdiction }) };
}
