// The lead of a pool of several objects: it hears what each of them has, tells it to the others, plans where
// prompts are split, and grants what their queues may let through.
//
//   room to grant = what the pool has room for, as the lead sees it with everything that was told
//                   − what shards may let through without asking: see Members.reserved
//
// Nothing is on a request's way. All it knows is told anew by the others within a second, but the map, which
// is stored.

import type { CreditAsk, CreditGrant } from "../../scheduler/credits/contracts.ts";
import {
  CREDIT_TOLD_WITHIN_MS,
  CREDIT_TTL_MS,
  CreditIssuer,
} from "../../scheduler/credits/credit-issuer.ts";
import type { ShardMap } from "../../scheduler/shards/contracts.ts";
import { HotRoots, SAMPLES_TOLD_MAX } from "../../scheduler/shards/hot-roots.ts";
import { SplitPlanner } from "../../scheduler/shards/plan-splits.ts";
import { TotalsOfAll } from "../../scheduler/shards/totals.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { PoolRoom } from "../queue/queue-options.ts";
import type { EndpointLoads, ShardAnswer, ShardTold } from "./contract.ts";
import { Members } from "./members.ts";

/** Between two plans: what is sampled lasts a minute. */
export const PLAN_EVERY_MS = 10_000;

/** A little longer than an issuer grants nothing after its start. */
export const QUIET_MS = 1.1 * CREDIT_TTL_MS + CREDIT_TOLD_WITHIN_MS;

export interface ShardLeadOptions {
  readonly clock: Clock;
  /** Random at each construction of the object. */
  readonly epoch: string;
  /** The pool has had one object until now: nobody can have been granted anything. */
  readonly isFirst: boolean;
  /** With what all have told, as othersOf has it; undefined while the pool has no flow control. */
  readonly pool: () => PoolRoom | undefined;
  /** Another shard has told something: the lead's own view of it is to be renewed first. */
  readonly heard: () => void;
  readonly mapChanged: (map: ShardMap) => void;
  /** What was sent to an address until then, in Unix ms, is in its engine's last sample. */
  readonly shownUntilMs: (address: string) => number;
}

export class ShardLead {
  readonly #options: ShardLeadOptions;
  readonly #members = new Members();
  readonly #prefill: TotalsOfAll;
  readonly #service: TotalsOfAll;
  readonly #roots = new HotRoots();
  readonly #planner = new SplitPlanner();
  readonly #issuer: CreditIssuer;
  /** Before it another life's grants may be in use, and this one's would say nothing. */
  readonly #grantsFromMs: number;
  #map: ShardMap;
  #planAtMs: number;
  #planning: ReturnType<SplitPlanner["steps"]> | undefined;

  constructor(options: ShardLeadOptions, map: ShardMap) {
    this.#options = options;
    this.#map = map;
    const { epoch, clock, isFirst } = options;
    const nowMs = clock();
    const startedAtMs = isFirst ? -Infinity : nowMs;
    this.#prefill = new TotalsOfAll(epoch);
    this.#service = new TotalsOfAll(epoch);
    this.#issuer = new CreditIssuer({ epoch, startedAtMs });
    this.#grantsFromMs = startedAtMs + QUIET_MS;
    this.#planAtMs = nowMs + PLAN_EVERY_MS;
  }

  get map(): ShardMap {
    return this.#map;
  }

  /** Requests that shards may let through without asking, now. */
  get outstanding(): number {
    return this.#issuer.outstanding(this.#options.clock());
  }

  /** Whether another object of the pool has been heard of lately. */
  get isAnyHeard(): boolean {
    return this.#members.isAnyHeard(this.#options.clock());
  }

  /** So many objects from now on. Splits stay: they say where prompts part, and not to whom they go. */
  setCount(count: number): void {
    if (count === this.#map.count) return;
    this.#setMap({ ...this.#map, count, version: this.#map.version + 1 });
  }

  /** What the others have at endpoints. */
  othersOf(shard: number): EndpointLoads {
    const { clock, shownUntilMs } = this.#options;
    return this.#members.othersOf(shard, clock(), shownUntilMs);
  }

  told(told: ShardTold): ShardAnswer {
    const { clock, epoch, heard } = this.#options;
    const nowMs = clock();
    const { shard } = told;
    const isNew = this.#members.told(told, nowMs);
    if (isNew) this.#take(told, nowMs);
    this.#plan(nowMs);
    if (shard !== 0) heard();
    const isKnown = told.mapVersion === this.#map.version && told.count === this.#map.count;
    // Nobody hears the answer to a message that was overtaken, or doubled: what it grants would be kept in vain.
    const credit = isNew && told.credit ? this.#grant(told, told.credit, nowMs) : undefined;
    return {
      epoch,
      ...(isKnown ? {} : { map: this.#map }),
      loads: this.othersOf(shard),
      prefill: this.#prefill.othersOf(shard, told.wantsAll, nowMs),
      work: [],
      service: this.#service.othersOf(shard, told.wantsAll, nowMs),
      ...(credit === undefined ? {} : { credit }),
      ...(this.#members.isAnyWaiting(nowMs) ? { isPressed: true } : {}),
    };
  }

  #take(told: ShardTold, nowMs: number): void {
    const { samples, mapVersion, count } = told;
    for (const sample of samples.slice(0, SAMPLES_TOLD_MAX)) this.#roots.add(sample, nowMs);
    this.#prefill.told(told, told.prefill ?? [], nowMs);
    this.#service.told(told, told.service, nowMs);
    // A lead that has lost its map begins at 0: what it says must be newer than what others have.
    const isBehind = mapVersion > this.#map.version;
    if (isBehind && count === this.#map.count)
      this.#setMap({ ...this.#map, version: mapVersion + 1 });
  }

  #grant(told: ShardTold, ask: CreditAsk, nowMs: number): CreditGrant | undefined {
    const pool = this.#options.pool();
    if (pool === undefined || nowMs < this.#grantsFromMs) return undefined;
    const share = Math.ceil(pool.capacity / this.#map.count);
    const reserved = this.#members.reserved(share, told.shard, nowMs);
    const grant = this.#issuer.grant(ask, Math.max(0, pool.room - reserved), nowMs);
    const isTaken = ask.epoch === this.#options.epoch;
    const spent = isTaken ? ask.spent : 0;
    this.#members.granted(told, Math.max(0, grant.limit - spent), isTaken);
    return grant;
  }

  /** Not at once: whoever has told something waits for an answer. */
  #plan(nowMs: number): void {
    if (nowMs < this.#planAtMs) return;
    this.#planAtMs = nowMs + PLAN_EVERY_MS;
    const map = this.#map;
    const steps = this.#planner.steps(map, this.#roots.samples(nowMs), nowMs);
    const goOn = () => {
      // Another plan has begun, or the map is not what this one began with.
      if (this.#planning !== steps || this.#map !== map) return;
      const step = steps.next();
      if (step.done !== true) setTimeout(goOn, 0);
      else if (step.value !== map) this.#setMap(step.value);
    };
    this.#planning = steps;
    setTimeout(goOn, 0);
  }

  #setMap(map: ShardMap): void {
    this.#map = map;
    this.#options.mapChanged(map);
  }
}
