// How far pools are from here, measured by this isolate.
//
// What a request takes says little of it: the object is elsewhere, and an answer's time is the engine's.
// So a pool that came into question is asked for nothing at all, HEAD, behind the request that asked:
// twice in a row, for the first may have to connect. Any answer will do, whatever its status.
//
//   measured   the least of the last RTT_PROBES_KEPT probes: what is above it is queues and this isolate
//   unknown    before the first, and RTT_KEPT_MS after the last that was answered
//
// The first value may have met a busy machine, and everything goes by it: until there are RTT_PROBES_KEPT of
// them, the next follows after RTT_FIRST_INTERVAL_MS.
//
// A probe that fails measures nothing. One that was out of time says nothing else either: it may have
// waited here. One that broke (refused, reset, no such host) is a failure of the pool where that was its
// only door; a pool with more doors is judged by requests, which try them all.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";
import { withDeadline } from "../shared-copy.ts";

/** A pool is measured this often at most, while it comes into question. */
export const RTT_PROBE_INTERVAL_MS = 10_000;
/** The same of one of which there are few values. */
export const RTT_FIRST_INTERVAL_MS = 1_000;
export const RTT_PROBE_DEADLINE_MS = 2_000;
export const RTT_PROBES_KEPT = 3;
export const RTT_KEPT_MS = 60_000;
/** Pools remembered; every pool of a full deployment fits. */
export const RTT_POOLS_MAX = DEPLOYMENT_LIMITS.poolsMax;

/** Sends one HEAD. */
export type SendProbe = (signal: AbortSignal) => Promise<Response>;

export type ProbeOutcome = "measured" | "late" | "broken";

interface Measured {
  /** The latest last. */
  readonly probesMs: number[];
  measuredAtMs: number;
  probedAtMs: number;
}

export class RttMeter {
  readonly #pools = new Map<string, Measured>();

  /** Undefined while it is not known. */
  rttMs(pool: string, nowMs: number): number | undefined {
    const measured = this.#pools.get(pool);
    if (measured === undefined || nowMs - measured.measuredAtMs >= RTT_KEPT_MS) return undefined;
    return Math.min(...measured.probesMs);
  }

  /** Whether the caller is to probe the pool now. Others are not told so for a while. */
  takeTurn(pool: string, nowMs: number): boolean {
    const known = this.#pools.get(pool);
    if (known !== undefined && nowMs - known.probedAtMs < intervalMs(known)) return false;
    if (known === undefined && this.#pools.size >= RTT_POOLS_MAX) this.#pools.clear();
    if (known === undefined) {
      this.#pools.set(pool, { probesMs: [], measuredAtMs: -Infinity, probedAtMs: nowMs });
    } else known.probedAtMs = nowMs;
    return true;
  }

  /** Never rejects. */
  async probe(pool: string, send: SendProbe): Promise<ProbeOutcome> {
    const ended = new AbortController();
    let leastMs = Infinity;
    const work = async () => {
      for (let i = 0; i < 2; i++) {
        // The clock stands still but for input and output, so here it is as late as the work before.
        const startedMs = Date.now();
        const answer = await send(ended.signal);
        leastMs = Math.min(leastMs, Date.now() - startedMs);
        await answer.body?.cancel();
      }
      return "measured" as const;
    };
    const broken = () => "broken" as const;
    let outcome: ProbeOutcome;
    try {
      outcome = await withDeadline(work().catch(broken), RTT_PROBE_DEADLINE_MS);
    } catch {
      // Out of time.
      outcome = "late";
      ended.abort();
    }
    if (leastMs < Infinity) this.add(pool, leastMs, Date.now());
    return outcome;
  }

  add(pool: string, rttMs: number, nowMs: number): void {
    const measured = this.#pools.get(pool);
    // Forgotten meanwhile.
    if (measured === undefined) return;
    if (nowMs - measured.measuredAtMs >= RTT_KEPT_MS) measured.probesMs.length = 0;
    measured.probesMs.push(rttMs);
    if (measured.probesMs.length > RTT_PROBES_KEPT) measured.probesMs.shift();
    measured.measuredAtMs = nowMs;
  }
}

/** A pool that does not answer is not asked more often for that. */
function intervalMs({ probesMs }: Measured): number {
  const isFew = probesMs.length > 0 && probesMs.length < RTT_PROBES_KEPT;
  return isFew ? RTT_FIRST_INTERVAL_MS : RTT_PROBE_INTERVAL_MS;
}
