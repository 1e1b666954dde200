// Digests of what pools' caches hold, one per pool, for isolates that want them.
//
// Where memory does not suffice for all, those make room that nobody has wanted for a while, for those
// that somebody has. Among those that are wanted none pushes another out: they would take turns.

import { joinDigests, splitDigests } from "../../scheduler/kv/digest/joined-digest.ts";
import { CACHE_DIGEST_LIMITS, HEADER_BYTES } from "../../scheduler/kv/digest/layout.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";
import { SHARDS_MAX } from "../../scheduler/shards/contracts.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { DIGEST_READ_BYTES_MAX, type PoolDigest, type PoolsKnown } from "./contract.ts";

/** One object's digest: several fit in one read. */
export const DIGEST_BYTES_MAX = CACHE_DIGEST_LIMITS.bytesMax + HEADER_BYTES;
/** All of them, of the 128 MB that an object has. */
export const DIGESTS_BYTES_MAX = 32 * 1024 * 1024;
/** One that no isolate has asked for during this time may make room. */
export const DIGEST_IDLE_MS = 60_000;

interface Kept {
  readonly digest: PoolDigest;
  readonly arrivedAtMs: number;
}

type Part = Pick<PoolDigest, "version" | "bytes">;
const PARTS_SEPARATOR = ",";
const NO_PART: Part = { version: "", bytes: new Uint8Array() };

/** Of each of `count` objects, what a joined digest has of it. */
function partsOf(kept: PoolDigest | undefined, count: number): Part[] {
  const bytes = kept === undefined ? undefined : splitDigests(kept.bytes);
  // That of a pool that had one object is of no use to one of several.
  const versions = bytes === undefined ? [] : kept!.version.split(PARTS_SEPARATOR);
  return Array.from({ length: Math.min(count, SHARDS_MAX) }, (_, i) =>
    bytes?.[i] === undefined ? NO_PART : { version: versions[i]!, bytes: bytes[i] },
  );
}

export class KeptDigests {
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();
  /** When an isolate asked for the pool's last, whether or not there was one. */
  readonly #wantedAtMs = new Map<string, number>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether any isolate has asked for the pool's lately. */
  isUsed(pool: string): boolean {
    return !this.#isIdle(pool);
  }

  /** Of a pool of several objects, of all of them; undefined while there is none. */
  versionOf(pool: string): string | undefined {
    return this.#kept.get(pool)?.digest.version;
  }

  /** Whether a pool, or one of its objects, whose digest is of this version should send it. */
  wants(pool: string, version: string | undefined, shard?: PoolSummary["shard"]): boolean {
    if (version === undefined || this.#isIdle(pool)) return false;
    const kept = this.#kept.get(pool)?.digest;
    const known =
      shard === undefined ? kept?.version : partsOf(kept, shard.count)[shard.index]?.version;
    if (known === version) return false;
    // The parts of the others stay.
    const others = shard === undefined ? 0 : (kept?.bytes.byteLength ?? 0);
    return this.#room(pool) - others >= DIGEST_BYTES_MAX;
  }

  /**
   * One that is too large, or finds no room, is not kept; the pool's older one goes in any case. That of
   * one of several objects is joined with those of the others.
   */
  put(said: PoolDigest, shard?: PoolSummary["shard"]): void {
    if (said.bytes.byteLength > DIGEST_BYTES_MAX) return this.#drop(said.pool);
    const digest = shard === undefined ? said : this.#joined(said, shard);
    const { pool, bytes } = digest;
    const needed = bytes.byteLength;
    const hasRoom = needed <= DIGEST_READ_BYTES_MAX && needed <= this.#room(pool);
    this.#drop(pool);
    if (!hasRoom) return;
    for (const other of this.#kept.keys()) {
      if (this.#bytes + needed <= DIGESTS_BYTES_MAX) break;
      if (this.#isIdle(other)) this.#drop(other);
    }
    this.#kept.set(pool, { digest, arrivedAtMs: this.#clock() });
    this.#bytes += needed;
  }

  /** The pool is no longer configured. */
  forget(pool: string): void {
    this.#drop(pool);
    this.#wantedAtMs.delete(pool);
  }

  /** In the caller's order, as many as fit in a read; ages as of now. Pools are configured ones. */
  read(wanted: PoolsKnown["digests"]): PoolDigest[] {
    const nowMs = this.#clock();
    const digests: PoolDigest[] = [];
    let left = DIGEST_READ_BYTES_MAX;
    for (const { pool, known } of wanted) {
      this.#wantedAtMs.set(pool, nowMs);
      const kept = this.#kept.get(pool);
      if (kept === undefined || kept.digest.version === known) continue;
      const { digest, arrivedAtMs } = kept;
      if (digest.bytes.byteLength > left) continue;
      left -= digest.bytes.byteLength;
      digests.push({ ...digest, ageMs: digest.ageMs + Math.max(0, nowMs - arrivedAtMs) });
    }
    return digests;
  }

  /** As old as the part that came last. */
  #joined(said: PoolDigest, { index, count }: NonNullable<PoolSummary["shard"]>): PoolDigest {
    const parts = partsOf(this.#kept.get(said.pool)?.digest, count);
    if (index < count) parts[index] = said;
    return {
      ...said,
      version: parts.map(({ version }) => version).join(PARTS_SEPARATOR),
      bytes: joinDigests(parts.map(({ bytes }) => bytes)),
    };
  }

  /** Bytes that the pool's digest may have. */
  #room(pool: string): number {
    const mayPush = !this.#isIdle(pool);
    let used = 0;
    for (const [other, { digest }] of this.#kept)
      if (other !== pool && !(mayPush && this.#isIdle(other))) used += digest.bytes.byteLength;
    return DIGESTS_BYTES_MAX - used;
  }

  #isIdle(pool: string): boolean {
    return this.#clock() - (this.#wantedAtMs.get(pool) ?? -Infinity) >= DIGEST_IDLE_MS;
  }

  #drop(pool: string): void {
    this.#bytes -= this.#kept.get(pool)?.digest.bytes.byteLength ?? 0;
    this.#kept.delete(pool);
  }
}
