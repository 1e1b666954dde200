// Digests of what pools' caches hold, one per pool, for isolates that want them.
//
// Where memory does not suffice for all, those make room that nobody has wanted for a while, for those
// that somebody has. Among those that are wanted none pushes another out: they would take turns.

import { CACHE_DIGEST_LIMITS, HEADER_BYTES } from "../../scheduler/kv/digest/layout.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { DIGEST_READ_BYTES_MAX, type PoolDigest, type PoolsKnown } from "./contract.ts";

/** One digest: several fit in one read. */
export const DIGEST_BYTES_MAX = CACHE_DIGEST_LIMITS.bytesMax + HEADER_BYTES;
/** All of them, of the 128 MB that an object has. */
export const DIGESTS_BYTES_MAX = 32 * 1024 * 1024;
/** One that no isolate has asked for during this time may make room. */
export const DIGEST_IDLE_MS = 60_000;

interface Kept {
  readonly digest: PoolDigest;
  readonly arrivedAtMs: number;
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

  /** Whether a pool whose digest is of this version should send it. */
  wants(pool: string, version: string | undefined): boolean {
    if (version === undefined || this.#isIdle(pool)) return false;
    if (this.#kept.get(pool)?.digest.version === version) return false;
    return this.#room(pool) >= DIGEST_BYTES_MAX;
  }

  /** One that is too large, or finds no room, is not kept; the pool's older one goes in any case. */
  put(digest: PoolDigest): void {
    const { pool, bytes } = digest;
    const needed = bytes.byteLength;
    const hasRoom = needed <= DIGEST_BYTES_MAX && needed <= this.#room(pool);
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
