// Endpoints for a request in one pool: from the object that its prompt belongs to.
//
//   shard ── granted, refused ──────────────► answer
//     ├── away ─────────────────────────────► the next one; after SHARDS_ASKED_MAX the first one's replica
//     ├── without endpoints ────────────────► the first of all; where none of them has any, that is the answer
//     └── moved: it does not count any more ► the shard by the count that it says, with the same attempt
//
// An object that has just been added is not configured yet, or has not heard of its endpoints. The pool's own
// object was there before all others.
//
// Every object knows every endpoint, so one that is away costs hits in caches, and nothing else. A pool of
// one object has none of this.

import { poolAddress } from "../../config/pool-address.ts";
import type { PickRefusal } from "../../durable/contract.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import type { ResolvedObjective } from "../../scheduler/flow-control/objectives.ts";
import { shardOf } from "../../scheduler/shards/shard-of.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Pool } from "../directory-index.ts";
import { edgePools } from "../edge/edge-pools.ts";
import { metrics } from "../metrics.ts";
import type { Prepared } from "../parsers/parser.ts";
import { requestIdAt, requestSeed } from "../request-id.ts";
import { poolShards } from "../shards/pool-shards.ts";
import type { PoolMoved, PoolUnavailable } from "./ask-object.ts";
import { askForCapacity } from "./capacity-webhook.ts";
import type { Leg } from "./job.ts";
import { pickRequest } from "./pick-request.ts";
import { type Grant, type PickContext, pickEndpoints } from "./pool-picks.ts";
import { PoolViews } from "./pool-view.ts";
import { WaitingBodies } from "./waiting-bodies.ts";

/** Objects of a pool that are asked for one pick, where some are away. */
export const SHARDS_ASKED_MAX = 3;
/** Counts that may change under one pick. */
const MOVES_MAX = 2;

/** Of pools, by their names, and of their objects, by addresses: a pool's own object has the pool's name. */
export const views = new PoolViews();
const bodies = new WaitingBodies();

/** What is picked for. */
export interface Picking {
  readonly pool: Pool;
  readonly prepared: Prepared;
  readonly claim: ResolvedObjective;
  readonly waits: boolean;
  readonly hasOther: boolean;
  readonly needsObject: boolean | undefined;
}

interface PickTry {
  readonly attempt: number;
  readonly exclude: readonly string[];
}

/** Never rejects. The request's id names the shard that has answered. */
export async function pickInPool(
  leg: Leg,
  at: Picking,
  pick: PickTry,
): Promise<Grant | PickRefusal | PoolUnavailable> {
  const decided: Decided = {};
  const answer = await pickWhereItIs(leg, { decided, ...at }, pick);
  const { terms } = decided;
  // Whatever was asked before: a request is one decision.
  if (terms !== undefined) {
    const { where, reason } = terms;
    metrics.inc(METRIC.edgeDecisionsTotal, { pool: at.pool.config.name, where, reason });
  }
  return answer;
}

/** The terms of the last decision on where to decide. */
interface Decided {
  terms?: ConsultTerms;
}

interface PickingOnce extends Picking {
  readonly decided: Decided;
}

async function pickWhereItIs(
  leg: Leg,
  at: PickingOnce,
  pick: PickTry,
): Promise<Grant | PickRefusal | PoolUnavailable> {
  const { config } = at.pool;
  for (let moves = 0; ; moves++) {
    const shards = poolShards.of(config, Date.now());
    const home = shardOf(at.prepared.keys, shards, requestSeed(leg.call.requestId));
    const answer = await pickFrom(leg, at, pick, { home, count: shards.count });
    if (answer.ok || answer.reason !== "moved") return answer;
    poolShards.moved(config.name, answer.shards, Date.now());
    if (moves === MOVES_MAX) return { ...answer, reason: "unavailable" };
  }
}

interface Shards {
  /** The one that the prompt belongs to. */
  readonly home: number;
  readonly count: number;
}

async function pickFrom(
  leg: Leg,
  at: PickingOnce,
  pick: PickTry,
  { home, count }: Shards,
): Promise<Grant | PickRefusal | PoolUnavailable | PoolMoved> {
  const askedMost = count === 1 ? 0 : Math.min(count, SHARDS_ASKED_MAX);
  const asked: number[] = [];
  /** The first that has not answered: its replica may stand in. */
  let away: number | undefined;
  let empty: PickRefusal | undefined;
  for (let shard = home; asked.length < askedMost;) {
    asked.push(shard);
    const isAway = viewOf(at.pool, shard).isAway(Date.now());
    const answer = isAway ? AWAY : await pickAt(leg, { ...at, hasOtherShard: true }, pick, shard);
    if (answer.ok || !isElsewhere(answer)) return answer;
    const isEmpty = answer.reason === "rejected-no-endpoints";
    if (isEmpty) empty ??= answer;
    else away ??= shard;
    shard = isEmpty && !asked.includes(0) ? 0 : nextOf(home, count, asked);
  }
  // Where none of them has an endpoint it may wait for one, at the object that it belongs to.
  const mayWait = at.waits && at.pool.hasQueue && !at.hasOther;
  if (away !== undefined || empty === undefined || mayWait)
    return pickAt(leg, at, pick, away ?? home);
  nameShard(leg, at, home);
  return empty;
}

const AWAY: PoolUnavailable = { ok: false, reason: "unavailable", detail: "asked a moment ago" };

/** The first one from `home` on, around, that was not asked. */
function nextOf(home: number, count: number, asked: readonly number[]): number {
  let shard = home;
  while (asked.includes(shard) && asked.length < count) shard = (shard + 1) % count;
  return shard;
}

/** Another object of the pool may do better. */
function isElsewhere({ reason }: PickRefusal | PoolUnavailable | PoolMoved): boolean {
  return ELSEWHERE.has(reason);
}
const ELSEWHERE: ReadonlySet<string> = new Set([
  "unavailable",
  "rejected-shutting-down",
  "rejected-no-endpoints",
]);

function pickAt(
  leg: Leg,
  at: PickingOnce & { readonly hasOtherShard?: boolean },
  pick: PickTry,
  shard: number,
): Promise<Grant | PickRefusal | PoolUnavailable | PoolMoved> {
  nameShard(leg, at, shard);
  // At an object beside others nobody waits for endpoints that those may have.
  const hasOther = at.hasOther || at.hasOtherShard === true;
  // Not spread: of what a job brings little is asked for.
  const request = pickRequest({
    call: leg.call,
    headers: leg.headers,
    tenant: leg.tenant,
    receivedAtMs: leg.receivedAtMs,
    weightOf: leg.weightOf,
    choice: leg.choice,
    pool: at.pool,
    prepared: at.prepared,
    claim: at.claim,
    waits: at.waits,
    attempt: pick.attempt,
    exclude: pick.exclude,
    hasOther,
  });
  return pickEndpoints(request, contextOf(leg, at, shard));
}

/** Its id says which shard it was asked at last. */
function nameShard({ call }: Leg, { pool }: Picking, shard: number): void {
  call.requestId = requestIdAt(call.requestId, pool.tag, shard);
}

function viewOf({ config }: Pool, shard: number) {
  return views.of(poolAddress(config, shard));
}

function contextOf(
  leg: Leg,
  { pool, prepared, hasOther, hasOtherShard, needsObject, decided }: Parameters<typeof pickAt>[1],
  shard: number,
): PickContext {
  const { name, capacityWebhook } = pool.config;
  const address = poolAddress(pool.config, shard);
  const view = viewOf(pool, shard);
  const { facts } = leg.telemetry;
  return {
    port: () => leg.port(address),
    view,
    edge: edgePools.of(address, pool, view),
    hasQueue: pool.hasQueue,
    hasOther,
    hasOtherShard,
    needsObject,
    // Of two attempts at once the loser is marked before its connection is closed: that waits for no batch.
    isConsulted: leg.watch !== undefined,
    reserveAttempt: leg.reserveAttempt,
    signal: leg.signal,
    hold: leg.hold,
    bodies,
    decided: (terms) => void (decided.terms = terms),
    waited: (waitMs) => (facts.queueMs = (facts.queueMs ?? 0) + waitMs),
    askForCapacity() {
      if (capacityWebhook === undefined) return;
      const at = new Date().toISOString();
      const ask = { pool: name, model: prepared.model, reason: "no-endpoints", at } as const;
      leg.hold(askForCapacity(capacityWebhook, ask));
    },
  };
}
