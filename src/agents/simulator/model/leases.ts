// Blocks that outlive their sequence: a prefiller keeps what it computed until a decoder has read it, or
// until a lease ends, so that a decoder that never comes costs blocks for a while and not for ever.
//
//   finished ──hold──► held ──release──► free       the decoder has what it wanted
//                        │ ▲
//                        │ └──renew── a decoder that waits says so
//                        └──────────► free          the lease ended: counted by whoever expires
//
// Source: vLLM vllm/distributed/kv_transfer/kv_connector/v1/nixl, kv_lease_duration.

import { assert } from "../../../scheduler/support/assert.ts";

/**
 * Who holds blocks, and until when. All leases last equally long, so the order of their beginning or last
 * renewal is that of their ends. Bounded by the cache: each holds at least one of its blocks.
 */
export class Leases<Holder> {
  readonly #durationMs: number;
  readonly #endsAtMs = new Map<Holder, number>();

  constructor(durationMs: number) {
    assert(durationMs > 0, "a lease lasts a while");
    this.#durationMs = durationMs;
  }

  get count(): number {
    return this.#endsAtMs.size;
  }

  hold(holder: Holder, nowMs: number): void {
    this.#endsAtMs.delete(holder);
    this.#endsAtMs.set(holder, nowMs + this.#durationMs);
  }

  /** Holds it from now on for as long again. False if it is not held any more. */
  renew(holder: Holder, nowMs: number): boolean {
    if (!this.#endsAtMs.has(holder)) return false;
    this.hold(holder, nowMs);
    return true;
  }

  /** False if it was not held. */
  end(holder: Holder): boolean {
    return this.#endsAtMs.delete(holder);
  }

  /** When the first lease ends; Infinity while there is none. */
  nextEndAtMs(): number {
    for (const endsAtMs of this.#endsAtMs.values()) return endsAtMs;
    return Infinity;
  }

  /** Ends the leases that are over at `nowMs`, the oldest first. */
  *expire(nowMs: number): Generator<Holder> {
    for (const [holder, endsAtMs] of this.#endsAtMs) {
      if (endsAtMs > nowMs) return;
      this.#endsAtMs.delete(holder);
      yield holder;
    }
  }
}
