// Endpoints for a request in one pool: from the object that its prompt belongs to.
//
//   shard ── granted, refused ──────────────► answer
//     ├── away, or not configured yet ──────► the next one; after SHARDS_ASKED_MAX the first one's replica
//     └── moved: it does not count any more ► the shard by the count that it says, with the same attempt
//
// Every object knows every endpoint, so one that is away costs hits in caches, and nothing else. A pool of
// one object has none of this.

import { poolAddress } from "../../config/pool-address.ts";
import type { PickRefusal } from "../../durable/contract.ts";
import type { ResolvedObjective } from "../../scheduler/flow-control/objectives.ts";
import { shardOf } from "../../scheduler/shards/shard-of.ts";
import type { Pool } from "../directory-index.ts";
import { edgePools } from "../edge/edge-pools.ts";
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
  at: Picking,
  pick: PickTry,
  { home, count }: Shards,
): Promise<Grant | PickRefusal | PoolUnavailable | PoolMoved> {
  const asked = count === 1 ? 0 : Math.min(count, SHARDS_ASKED_MAX);
  for (let step = 0; step < asked; step++) {
    const shard = (home + step) % count;
    if (viewOf(at.pool, shard).isAway(Date.now())) continue;
    const answer = await pickAt(leg, { ...at, hasOtherShard: true }, pick, shard);
    if (answer.ok || !isElsewhere(answer)) return answer;
  }
  return pickAt(leg, at, pick, home);
}

/** Another object of the pool may do better. */
function isElsewhere({ reason }: PickRefusal | PoolUnavailable | PoolMoved): boolean {
  return reason === "unavailable" || reason === "rejected-shutting-down";
}

function pickAt(
  leg: Leg,
  at: Picking & { readonly hasOtherShard?: boolean },
  pick: PickTry,
  shard: number,
): Promise<Grant | PickRefusal | PoolUnavailable | PoolMoved> {
  leg.call.requestId = requestIdAt(leg.call.requestId, at.pool.tag, shard);
  return pickEndpoints(pickRequest({ ...leg, ...at, ...pick }), contextOf(leg, at, shard));
}

function viewOf({ config }: Pool, shard: number) {
  return views.of(poolAddress(config, shard));
}

function contextOf(
  leg: Leg,
  { pool, prepared, hasOther, hasOtherShard, needsObject }: Parameters<typeof pickAt>[1],
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
    // Of two attempts at once the loser is marked before its connection is closed; an upstream's end is settled
    // here: neither waits for a batch.
    isConsulted: leg.watch !== undefined || pool.config.upstreams.length > 0,
    signal: leg.signal,
    hold: leg.hold,
    bodies,
    waited: (waitMs) => (facts.queueMs = (facts.queueMs ?? 0) + waitMs),
    askForCapacity() {
      if (capacityWebhook === undefined) return;
      const at = new Date().toISOString();
      const ask = { pool: name, model: prepared.model, reason: "no-endpoints", at } as const;
      leg.hold(askForCapacity(capacityWebhook, ask));
    },
  };
}
