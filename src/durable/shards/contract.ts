// What the objects of one pool tell each other, off the requests' way.
//
//   shard ── ShardTold, about every 250 ms while it has traffic ──▶ lead (shard 0), itself among them
//   shard ◀── ShardAnswer: the map, what the others have, credit ── lead
//
// What adds up is told as totals, what stands as it stands, so a message that is lost, late or doubled does
// no harm. Fields are only ever added, as optional ones.

import type { CreditAsk, CreditGrant } from "../../scheduler/credits/contracts.ts";
import type { ShardMap } from "../../scheduler/shards/contracts.ts";
import type { PromptSample } from "../../scheduler/shards/hot-roots.ts";
import type { Total } from "../../scheduler/shards/totals.ts";

/** What stands at endpoints, as OthersLoad has it: one value an address. */
export interface EndpointLoads {
  readonly addresses: readonly string[];
  readonly requests: Float64Array;
  readonly tokens: Float64Array;
  readonly unseen: Float64Array;
  /** Of `unseen`, see OthersLoad; of what a shard tells of itself there are none. */
  readonly agesMs?: Float64Array;
}

export interface ShardTold {
  readonly shard: number;
  /** Random at each construction of the object. */
  readonly epoch: string;
  /** Rises with each message of the epoch. */
  readonly seq: number;
  /** The map that it goes by. */
  readonly count: number;
  readonly mapVersion: number;
  /** It has nothing to do any more, and says nothing until it has. */
  readonly isLeaving: boolean;
  /** The answer should have all totals. */
  readonly wantsAll: boolean;
  /** At most SAMPLES_TOLD_MAX. */
  readonly samples: readonly PromptSample[];
  readonly loads: EndpointLoads;
  /** Prefill sent to endpoints, in tokens, by address. Absent before 2026-11-22. */
  readonly prefill?: readonly Total[];
  /**
   * Always empty: the same in ms, which nobody reads since 2026-11-22. Objects of the version before must find
   * it; to go with the release after the one that has `prefill`.
   */
  readonly work: readonly Total[];
  /** What flows have been served, see FlowController.attained. */
  readonly service: readonly Total[];
  /** For requests that its queue lets through: a token each. */
  readonly credit?: CreditAsk;
  /** Requests that wait. */
  readonly waiting?: number;
}

export interface ShardAnswer {
  /** The lead's. */
  readonly epoch: string;
  /** Absent where the shard has it. */
  readonly map?: ShardMap;
  /** All of these are of the other shards together. */
  readonly loads: EndpointLoads;
  /** See ShardTold. */
  readonly prefill?: readonly Total[];
  /** See ShardTold. */
  readonly work: readonly Total[];
  readonly service: readonly Total[];
  /** Absent while the lead may not grant any, and without flow control. */
  readonly credit?: CreditGrant;
  /** Requests wait in some shard: all are to say sooner what has ended. */
  readonly isPressed?: true;
}

/** The lead, wherever it is. */
export interface LeadPort {
  /**
   * Undefined from an object that leads no pool, such as one that is not configured yet. One of the version
   * before has no such word, and then the call rejects.
   */
  tellLead(
    address: string,
    told: ShardTold,
  ): Promise<(ShardAnswer & Partial<Disposable>) | undefined>;
}
