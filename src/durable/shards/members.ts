// What a lead was told last by each shard of its pool.
//
//   heard within SHARD_LEASE_MS    its loads count as it told them
//   silent without a word          its share of the capacity is kept for it, for RESERVED_MS: it may let
//                                  that much through without asking
//   said that it has nothing to do nothing

import type { OthersLoad } from "../../scheduler/model/shared-loads.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import type { EndpointLoads, ShardTold } from "./contract.ts";
import { packLoads, unpackLoads } from "./endpoint-loads.ts";

/** What was told is good for so long: some messages may be lost. */
export const SHARD_LEASE_MS = 1_500;
export const RESERVED_MS = 60_000;

interface Member {
  readonly epoch: string;
  readonly seq: number;
  readonly atMs: number;
  readonly isLeaving: boolean;
  readonly loads: ReadonlyMap<string, OthersLoad>;
}

export class Members {
  readonly #byShard = new Map<number, Member>();

  /** False for a message that is older than one that was taken, or of no shard. */
  told({ shard, epoch, seq, isLeaving, loads }: ShardTold, nowMs: number): boolean {
    if (!Number.isInteger(shard) || shard < 0 || shard >= SHARDS_MAX) return false;
    const known = this.#byShard.get(shard);
    if (known?.epoch === epoch && seq <= known.seq) return false;
    this.#byShard.set(shard, { epoch, seq, isLeaving, atMs: nowMs, loads: unpackLoads(loads) });
    return true;
  }

  /** Whether any but the lead itself has been heard of lately. */
  isAnyHeard(nowMs: number): boolean {
    for (const [shard, member] of this.#byShard)
      if (shard !== 0 && !member.isLeaving && nowMs - member.atMs < SHARD_LEASE_MS) return true;
    return false;
  }

  /** Shards that have fallen silent in the middle of their work. */
  silentCount(nowMs: number): number {
    let silent = 0;
    for (const { isLeaving, atMs } of this.#byShard.values()) {
      const ageMs = nowMs - atMs;
      if (!isLeaving && ageMs >= SHARD_LEASE_MS && ageMs < RESERVED_MS) silent += 1;
    }
    return silent;
  }

  /** What all but that one have at endpoints. */
  othersOf(shard: number, nowMs: number): EndpointLoads {
    const sums = new Map<string, { requests: number; tokens: number; unseen: number }>();
    for (const [other, { atMs, loads }] of this.#byShard) {
      if (other === shard || nowMs - atMs >= SHARD_LEASE_MS) continue;
      for (const [address, { requests, tokens, unseen }] of loads) {
        const sum = sums.get(address);
        if (sum === undefined) sums.set(address, { requests, tokens, unseen });
        else {
          sum.requests += requests;
          sum.tokens += tokens;
          sum.unseen += unseen;
        }
      }
    }
    return packLoads([...sums]);
  }
}
