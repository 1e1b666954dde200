// What a lead was told last by each shard of its pool.
//
//   heard within SHARD_LEASE_MS    its loads count as it told them
//   not granted anything yet       it may have its share of the capacity, which is kept for it
//   not known to go by a grant     the same, as far as it was not granted that
//   silent without a word          the same, for RESERVED_MS
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
  readonly isWaiting: boolean;
  readonly loads: ReadonlyMap<string, OthersLoad>;
}

/** This lead's credit of a shard. */
interface Granted {
  /** The shard's. */
  readonly epoch: string;
  /** What it may have under way with it. */
  readonly level: number;
  /** It goes by a grant of this lead, perhaps an earlier one, and no more by its share. */
  readonly isTaken: boolean;
}

/** Of one endpoint, of several shards. */
interface Sum {
  requests: number;
  tokens: number;
  unseen: number;
  ageMs: number;
}

export class Members {
  readonly #byShard = new Map<number, Member>();
  readonly #granted = new Map<number, Granted>();

  /** False for a message that is older than one that was taken, or of no shard. */
  told({ shard, epoch, seq, isLeaving, waiting = 0, loads }: ShardTold, nowMs: number): boolean {
    if (!Number.isInteger(shard) || shard < 0 || shard >= SHARDS_MAX) return false;
    const known = this.#byShard.get(shard);
    if (known?.epoch === epoch && seq <= known.seq) return false;
    const isWaiting = waiting > 0;
    const at = { epoch, seq, isLeaving, isWaiting, atMs: nowMs };
    this.#byShard.set(shard, { ...at, loads: unpackLoads(loads) });
    return true;
  }

  /** Whether any but the lead itself has been heard of lately. */
  isAnyHeard(nowMs: number): boolean {
    for (const [shard, member] of this.#byShard)
      if (shard !== 0 && !member.isLeaving && nowMs - member.atMs < SHARD_LEASE_MS) return true;
    return false;
  }

  /**
   * With this credit of the lead it may let so many more through until it asks again. `isTaken`: it has told that it goes
   * by such credit; until then it may go by its share, while the answer is on its way.
   */
  granted({ shard, epoch, loads }: ShardTold, requests: number, isTaken: boolean): void {
    const level = requestsOf(unpackLoads(loads)) + requests;
    this.#granted.set(shard, { epoch, level, isTaken });
  }

  /** Requests wait somewhere. */
  isAnyWaiting(nowMs: number): boolean {
    for (const { isWaiting, atMs } of this.#byShard.values())
      if (isWaiting && nowMs - atMs < SHARD_LEASE_MS) return true;
    return false;
  }

  /**
   * What shards may have by their share, beyond what they have told, given what that is: those that have
   * fallen silent in the middle of their work, and those that have no credit of this lead yet.
   */
  reserved(share: number, asking: number, nowMs: number): number {
    let reserved = 0;
    for (const [shard, { epoch, isLeaving, atMs, loads }] of this.#byShard) {
      const ageMs = nowMs - atMs;
      if (shard === asking || isLeaving || ageMs >= RESERVED_MS) continue;
      const granted = this.#granted.get(shard);
      const isGranted = granted?.epoch === epoch;
      // What it told last is in nobody's columns any more.
      if (ageMs >= SHARD_LEASE_MS) reserved += Math.max(share, isGranted ? granted.level : 0);
      else if (!isGranted) reserved += Math.max(0, share - requestsOf(loads));
      else if (!granted.isTaken) reserved += Math.max(0, share - granted.level);
    }
    return reserved;
  }

  /**
   * What all but that one have at endpoints. `shownUntilMs`: what was sent to an address until then is in the
   * engine's last sample, and was unseen only when it was told.
   */
  othersOf(shard: number, nowMs: number, shownUntilMs: (address: string) => number): EndpointLoads {
    const sums = new Map<string, Sum>();
    for (const [other, { atMs, loads }] of this.#byShard) {
      if (other === shard || nowMs - atMs >= SHARD_LEASE_MS) continue;
      for (const [address, { requests, tokens, unseen }] of loads) {
        const sum = sums.get(address) ?? { requests: 0, tokens: 0, unseen: 0, ageMs: Infinity };
        sums.set(address, sum);
        sum.requests += requests;
        sum.tokens += tokens;
        if (unseen === 0 || atMs <= shownUntilMs(address)) continue;
        sum.unseen += unseen;
        sum.ageMs = Math.min(sum.ageMs, nowMs - atMs);
      }
    }
    for (const sum of sums.values()) if (sum.unseen === 0) sum.ageMs = 0;
    return packLoads([...sums]);
  }
}

function requestsOf(loads: ReadonlyMap<string, OthersLoad>): number {
  let sum = 0;
  for (const { requests } of loads.values()) sum += requests;
  return sum;
}
