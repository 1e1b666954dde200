// The conversation trace over regions: who asks where, and when.
//
// A session is a chain of requests that share more than the first block, which is everyone's. Each belongs
// to one region, drawn by the shares that the regions have of the traffic when it begins: in a day,
//
//   share[r](t) = (1 + SWING · cos 2π(t − noon[r])) / 3        noons a third of a day apart
//
// A day is as long as the measured requests take, and a quarter of a day comes before, to fill caches. Times
// are the trace's, stretched to the rate. Nobody waits for an answer, so every choice gets the same work.

import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import type { TraceLine } from "../workloads/mooncake-trace.ts";
import { TraceRequests } from "../workloads/mooncake-trace.ts";
import { conversationTrace } from "../workloads/packed-trace.ts";
import { spreadTimes } from "../workloads/spread-times.ts";
import type { Session } from "../workload.ts";
import { REGIONS } from "./topology.ts";

/** A session of one request, as the simulation's flights have them. */
export interface Arrival {
  readonly session: Session;
  readonly sessionIndex: number;
  readonly region: number;
}

export interface RegionalLoad {
  /** In order of time. */
  readonly arrivals: readonly Arrival[];
  readonly measuredFromMs: number;
}

/** Of the requests of a region: how much more there are at noon than in the mean. */
const SWING = 0.8;
/** A day and the quarter before it; seeds read different parts of the trace. */
export const REQUESTS = 3_000;
const SEEDS_APART = 4_000;
const WARM_UP_SHARE = 0.2;

/** Shares of the traffic by region at `day`, in days since the run's beginning. */
export type Shares = (day: number) => readonly number[];

export const DIURNAL: Shares = (day) =>
  REGIONS.map((_, i) => {
    const sinceNoon = day - i / REGIONS.length;
    return (1 + SWING * Math.cos(2 * Math.PI * sinceNoon)) / REGIONS.length;
  });

export interface LoadOptions {
  /** Requests a second, all regions together. */
  readonly rate: number;
  readonly shares: Shares;
  readonly seed: number;
  readonly requests?: number;
}

/** Equal arguments, equal loads. Seeds read different parts of the trace. */
export function createLoad({ rate, shares, seed, requests = REQUESTS }: LoadOptions): RegionalLoad {
  const trace = conversationTrace();
  const lines = Array.from(
    { length: requests },
    (_, i) => trace[((seed - 1) * SEEDS_APART + i) % trace.length]!,
  );
  const rng = createRng(seed);
  const durationMs = (requests / rate) * 1_000;
  const times = spreadTimes(lines, durationMs);
  const dayMs = durationMs * (1 - WARM_UP_SHARE);
  const sessions = new Sessions();
  const truths = new TraceRequests();
  const regions: number[] = [];
  const arrivals = lines.map((line, i): Arrival => {
    const startMs = times[i]!;
    const sessionIndex = sessions.of(line);
    regions[sessionIndex] ??= drawRegion(shares(startMs / dayMs), rng);
    const region = regions[sessionIndex];
    const turns = [{ request: truths.of(line), delayMs: 0 }];
    return { session: { startMs, tenant: REGIONS[region]!, turns }, sessionIndex, region };
  });
  return { arrivals, measuredFromMs: durationMs * WARM_UP_SHARE };
}

/** Tells sessions apart by the blocks that their requests share. */
class Sessions {
  readonly #sessionOf = new Map<number, number>();
  #count = 0;

  of({ hash_ids }: TraceLine): number {
    let session: number | undefined;
    for (let i = hash_ids.length - 1; i > 0 && session === undefined; i--)
      session = this.#sessionOf.get(hash_ids[i]!);
    session ??= this.#count++;
    for (const id of hash_ids.slice(1)) this.#sessionOf.set(id, session);
    return session;
  }
}

function drawRegion(shares: readonly number[], rng: Rng): number {
  let left = rng();
  for (let region = 0; region < shares.length - 1; region++) {
    left -= shares[region]!;
    if (left < 0) return region;
  }
  return shares.length - 1;
}
